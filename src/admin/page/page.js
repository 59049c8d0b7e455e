// SPDX-License-Identifier: GPL-3.0-or-later
// The dashboard: the daemon's own JSON as tables, read again every 3 seconds. Text only ever goes in as text.
"use strict";

const at = (row, path) => path.split(".").reduce((v, key) => (v == null ? v : v[key]), row);
const byId = (id) => document.getElementById(id);

function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text != null) e.textContent = String(text);
  if (className) e.className = className;
  return e;
}

function table(id, rows, columns) {
  const place = byId(id);
  if (!rows.length) return place.replaceChildren(element("p", "none", "none"));
  const t = element("table"), head = t.createTHead().insertRow(), body = t.createTBody();
  for (const [name] of columns) head.append(element("th", name));
  for (const row of rows) {
    const tr = body.insertRow();
    for (const [, value] of columns) {
      const v = typeof value === "function" ? value(row) : at(row, value);
      tr.append(v instanceof Node ? v : element("td", Array.isArray(v) ? v.join(", ") : v ?? ""));
    }
  }
  place.replaceChildren(t);
}

const short = (id) => (id ? id.replace(/^spiffe:\/\//, "") : "none");
const bytes = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i ? n.toFixed(1) : n} ${units[i]}`;
};
const secured = (c) => element("td", c.protocol === "HBONE" ? "🔒 mTLS" : "plaintext", c.protocol === "HBONE" ? "good" : "bad");

function showStatus(s) {
  const captured = (s.capture?.pods ?? []).filter((p) => p.captured).length;
  const flows = s.workers.reduce((n, w) => n + w.flowsOpen, 0);
  const head = byId("head");
  head.textContent = `${s.node} · ${s.version} · world ${s.world} · ${captured} of ${s.capture?.pods?.length ?? 0} workloads captured · ` +
    `${flows} connections · ${s.ready ? "ready" : "not ready: " + s.why}`;
  head.className = s.ready ? "" : "bad";
  const problems = (s.config?.errors ?? []).map((e) => `${e.file}:${e.line}:${e.column}: ${e.severity}: ${e.text}`);
  for (const p of s.capture?.pods ?? []) if (!p.captured) problems.push(`${p.namespace}/${p.name} is not captured: ${p.why ?? "not yet"}`);
  for (const name of s.incomplete ?? []) problems.push(`no answer in time from: ${name}`);
  byId("problems").hidden = !problems.length;
  byId("problems").querySelector("ul").replaceChildren(...problems.map((p) => element("li", p)));
}

async function read(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function turn() {
  try {
    const [status, connections, denials, workloads, policies, certs] =
      await Promise.all(["/status", "/connections", "/denials", "/workloads", "/policies", "/certs"].map(read));
    showStatus(status);
    table("connections", connections.slice(0, 500), [
      ["", secured], ["direction", "direction"], ["source", (c) => c.src?.workload ?? c.src?.addr], ["identity", (c) => short(c.src?.identity)],
      ["destination", (c) => c.dst?.hboneAddr ?? c.dst?.addr], ["identity", (c) => short(c.dst?.identity)],
      ["sent", (c) => bytes(c.bytesSent ?? 0)], ["received", (c) => bytes(c.bytesReceived ?? 0)], ["state", "state"]]);
    table("denials", denials.slice(-50).reverse(), [
      ["time", "time"], ["direction", "direction"], ["source", (d) => d.src?.workload ?? d.src?.addr], ["identity", (d) => short(d.src?.identity)],
      ["destination", (d) => d.dst?.addr], ["why", "text"], ["policy", "policy"], ["rule", "rule"], ["file", "at"]]);
    table("workloads", workloads.slice(0, 1000), [
      ["namespace", "namespace"], ["name", "name"], ["address", "workloadIps"], ["node", "node"], ["protocol", "protocol"],
      ["mTLS", "mtlsMode"], ["status", "status"], ["identity", (w) => short(w.identity)]]);
    table("policies", policies.slice(0, 1000), [
      ["kind", "kind"], ["namespace", "namespace"], ["name", "name"], ["action or mode", (p) => p.action ?? p.mode], ["scope", "scope"],
      ["workloads", "workloads"], ["file", "at"], ["note", "note"]]);
    table("certs", certs.slice(0, 1000), [
      ["identity", (c) => short(c.identity)], ["state", (c) => element("td", c.state, c.state === "Available" ? "good" : "bad")],
      ["ends", (c) => c.certChain?.[0]?.expirationTime], ["next rotation", "nextRotation"], ["last error", "lastError"]]);
  } catch (error) {
    byId("head").textContent = `the daemon does not answer: ${error.message}`;
    byId("head").className = "bad";
  }
  setTimeout(turn, 3000);
}
turn();
