/* SPDX-License-Identifier: GPL-3.0-or-later
 * bench/micro/manifests.h - the text of a made-up mesh, as short as objects can be or as long as kubectl prints them
 *
 * Pod i of namespace app has address 10.x.y.z, labels app=app-<i / 10> and id=<i>; policy i selects id=<i + 1000>, so the
 * first thousand pods are met by none of them; service i selects app=app-<i>. */
#pragma once

#include <stdio.h>

enum manifest_style { MANIFEST_MINIMAL, MANIFEST_KUBECTL };

static inline void manifest_pod_minimal(FILE *f, unsigned i) {
    fprintf(f,
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: deployment-5d8f7c9b7-%05u\n  namespace: app\n"
            "  uid: 0b7c1e2a-95a1-4c69-8f4e-%012u\n  labels: {app: app-%u, id: \"%u\", istio.io/dataplane-mode: ambient}\n"
            "spec:\n  nodeName: node-%u\n  serviceAccountName: account-%u\n  containers: []\n"
            "status:\n  phase: Running\n  podIP: 10.%u.%u.%u\n  conditions: [{type: Ready, status: \"True\"}]\n---\n",
            i, i, i / 10, i, i % 50, i / 10, (i + 1) / 65536, (i + 1) / 256 % 256, (i + 1) % 256);
}

static inline void manifest_policy_minimal(FILE *f, unsigned i) {
    fprintf(f,
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: policy-%u\n  namespace: app\n"
            "spec:\n  selector:\n    matchLabels: {id: \"%u\"}\n  action: %s\n  rules:\n  - from:\n    - source:\n"
            "        principals: [cluster.local/ns/app/sa/account-%u]\n    to:\n    - operation:\n        ports: [\"8080\", "
            "\"8443\"]\n---\n",
            i, i + 1000, i % 2 ? "DENY" : "ALLOW", i % 100);
}

static inline void manifest_service_minimal(FILE *f, unsigned i) {
    fprintf(f,
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: service-%u\n  namespace: app\n"
            "spec:\n  type: ClusterIP\n  clusterIP: 10.128.%u.%u\n  clusterIPs: [10.128.%u.%u]\n  selector: {app: app-%u}\n"
            "  ports:\n  - {name: http, port: 80, protocol: TCP, targetPort: 8080}\n"
            "  - {name: metrics, port: 9090, protocol: TCP, targetPort: 9090}\n---\n",
            i, (i + 1) / 256, (i + 1) % 256, (i + 1) / 256, (i + 1) % 256, i);
}

/* managedFields as server-side apply leaves them: the larger part of what kubectl prints. */
static inline void manifest_managed_fields(FILE *f, const char *manager, const char *const *paths, unsigned n_paths) {
    fprintf(f, "    - apiVersion: v1\n      fieldsType: FieldsV1\n      fieldsV1:\n        f:metadata:\n          f:labels:\n"
               "            .: {}\n            f:app: {}\n            f:id: {}\n            f:istio.io/dataplane-mode: {}\n"
               "        f:spec:\n");
    for (unsigned i = 0; i < n_paths; i++)
        fprintf(f, "          f:%s:\n            .: {}\n            f:value: {}\n", paths[i]);
    fprintf(f, "      manager: %s\n      operation: Update\n      time: \"2026-01-02T03:04:05Z\"\n", manager);
}

static inline void manifest_pod_kubectl(FILE *f, unsigned i) {
    static const char *const fields[] = {"containers",    "dnsPolicy",       "enableServiceLinks",           "restartPolicy",
                                         "schedulerName", "securityContext", "terminationGracePeriodSeconds"};
    fprintf(f,
            "- apiVersion: v1\n  kind: Pod\n  metadata:\n    annotations:\n      ambient.istio.io/redirection: enabled\n"
            "      kubectl.kubernetes.io/restartedAt: \"2026-01-02T03:04:05Z\"\n    creationTimestamp: \"2026-01-02T03:04:05Z\"\n"
            "    generateName: deployment-5d8f7c9b7-\n    labels:\n      app: app-%u\n      id: \"%u\"\n"
            "      istio.io/dataplane-mode: ambient\n      pod-template-hash: 5d8f7c9b7\n    managedFields:\n",
            i / 10, i);
    manifest_managed_fields(f, "kube-controller-manager", fields, sizeof(fields) / sizeof(fields[0]));
    manifest_managed_fields(f, "kubelet", fields, 4);
    fprintf(
        f,
        "    name: deployment-5d8f7c9b7-%05u\n    namespace: app\n    ownerReferences:\n    - apiVersion: apps/v1\n"
        "      blockOwnerDeletion: true\n      controller: true\n      kind: ReplicaSet\n      name: deployment-5d8f7c9b7\n"
        "      uid: 5d2f9a9e-0000-4000-8000-000000000002\n    resourceVersion: \"%u\"\n"
        "    uid: 0b7c1e2a-95a1-4c69-8f4e-%012u\n  spec:\n    containers:\n    - env:\n      - name: POD_NAME\n"
        "        valueFrom:\n          fieldRef:\n            apiVersion: v1\n            fieldPath: metadata.name\n"
        "      image: registry.example.com/team/app:v1.2.3\n      imagePullPolicy: IfNotPresent\n      livenessProbe:\n"
        "        failureThreshold: 3\n        httpGet:\n          path: /healthz\n          port: http\n          scheme: HTTP\n"
        "        periodSeconds: 10\n        successThreshold: 1\n        timeoutSeconds: 1\n      name: app\n      ports:\n"
        "      - containerPort: 8080\n        name: http\n        protocol: TCP\n      resources:\n        limits:\n"
        "          memory: 256Mi\n        requests:\n          cpu: 100m\n          memory: 128Mi\n"
        "      terminationMessagePath: /dev/termination-log\n      terminationMessagePolicy: File\n      volumeMounts:\n"
        "      - mountPath: /var/run/secrets/kubernetes.io/serviceaccount\n        name: kube-api-access-x7k2p\n"
        "        readOnly: true\n    dnsPolicy: ClusterFirst\n    enableServiceLinks: true\n    nodeName: node-%u\n"
        "    preemptionPolicy: PreemptLowerPriority\n    priority: 0\n    restartPolicy: Always\n"
        "    schedulerName: default-scheduler\n    securityContext: {}\n    serviceAccount: account-%u\n"
        "    serviceAccountName: account-%u\n    terminationGracePeriodSeconds: 30\n    tolerations:\n"
        "    - effect: NoExecute\n      key: node.kubernetes.io/not-ready\n      operator: Exists\n      tolerationSeconds: 300\n"
        "    volumes:\n    - name: kube-api-access-x7k2p\n      projected:\n        defaultMode: 420\n        sources:\n"
        "        - serviceAccountToken:\n            expirationSeconds: 3607\n            path: token\n",
        i, 1000000 + i, i, i % 50, i / 10, i / 10);
    fprintf(f, "  status:\n    conditions:\n");
    for (unsigned c = 0; c < 4; c++)
        fprintf(f,
                "    - lastProbeTime: null\n      lastTransitionTime: \"2026-01-02T03:04:06Z\"\n      status: \"True\"\n      "
                "type: %s\n",
                (const char *const[]){"PodScheduled", "Initialized", "ContainersReady", "Ready"}[c]);
    fprintf(
        f,
        "    containerStatuses:\n    - containerID: containerd://9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n"
        "      image: registry.example.com/team/app:v1.2.3\n      lastState: {}\n      name: app\n      ready: true\n"
        "      restartCount: 0\n      started: true\n      state:\n        running:\n          startedAt: "
        "\"2026-01-02T03:04:06Z\"\n"
        "    hostIP: 192.0.2.%u\n    phase: Running\n    podIP: 10.%u.%u.%u\n    podIPs:\n    - ip: 10.%u.%u.%u\n"
        "    qosClass: Burstable\n    startTime: \"2026-01-02T03:04:05Z\"\n",
        i % 50, (i + 1) / 65536, (i + 1) / 256 % 256, (i + 1) % 256, (i + 1) / 65536, (i + 1) / 256 % 256, (i + 1) % 256);
}

static inline void manifest_policy_kubectl(FILE *f, unsigned i) {
    static const char *const fields[] = {"action", "rules", "selector"};
    fprintf(f, "- apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n  metadata:\n"
               "    creationTimestamp: \"2026-01-02T03:04:05Z\"\n    generation: 1\n    managedFields:\n");
    manifest_managed_fields(f, "kubectl-client-side-apply", fields, 3);
    fprintf(
        f,
        "    name: policy-%u\n    namespace: app\n    resourceVersion: \"%u\"\n    uid: 1b7c1e2a-95a1-4c69-8f4e-%012u\n  spec:\n"
        "    action: %s\n    rules:\n    - from:\n      - source:\n          principals:\n"
        "          - cluster.local/ns/app/sa/account-%u\n      to:\n      - operation:\n          ports:\n          - \"8080\"\n"
        "          - \"8443\"\n    selector:\n      matchLabels:\n        id: \"%u\"\n",
        i, 2000000 + i, i, i % 2 ? "DENY" : "ALLOW", i % 100, i + 1000);
}

static inline void manifest_service_kubectl(FILE *f, unsigned i) {
    static const char *const fields[] = {"clusterIP", "internalTrafficPolicy", "ports", "selector", "sessionAffinity", "type"};
    fprintf(
        f, "- apiVersion: v1\n  kind: Service\n  metadata:\n    creationTimestamp: \"2026-01-02T03:04:05Z\"\n    managedFields:\n");
    manifest_managed_fields(f, "kubectl-client-side-apply", fields, 6);
    fprintf(
        f,
        "    name: service-%u\n    namespace: app\n    resourceVersion: \"%u\"\n    uid: 2b7c1e2a-95a1-4c69-8f4e-%012u\n  spec:\n"
        "    clusterIP: 10.128.%u.%u\n    clusterIPs:\n    - 10.128.%u.%u\n    internalTrafficPolicy: Cluster\n    ipFamilies:\n"
        "    - IPv4\n    ipFamilyPolicy: SingleStack\n    ports:\n    - name: http\n      port: 80\n      protocol: TCP\n"
        "      targetPort: 8080\n    selector:\n      app: app-%u\n    sessionAffinity: None\n    type: ClusterIP\n"
        "  status:\n    loadBalancer: {}\n",
        i, 3000000 + i, i, (i + 1) / 256, (i + 1) % 256, (i + 1) / 256, (i + 1) % 256, i);
}
