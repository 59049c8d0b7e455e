// SPDX-License-Identifier: GPL-3.0-or-later

// A real SPIFFE client, for the tests of the Workload API: go-spiffe speaks, one JSON line is printed for each thing learnt.
//
//	spiffeclient SOCKET watch            every X.509 context until stdin ends
//	spiffeclient SOCKET bundles          the X.509 and JWT bundles once
//	spiffeclient SOCKET jwt AUDIENCE     a JWT-SVID, validated by the server and by go-spiffe with the JWT bundle
//	spiffeclient SOCKET validate AUDIENCE TOKEN
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

type line map[string]interface{}

func say(l line) {
	if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
		os.Exit(1)
	}
}

func refused(err error) line {
	var inner error = err
	for errors.Unwrap(inner) != nil {
		inner = errors.Unwrap(inner)
	}
	return line{"error": err.Error(), "code": status.Code(inner).String()}
}

func pemOf(certs []*x509.Certificate) string {
	text := ""
	for _, c := range certs {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(c *workloadapi.X509Context) {
	svid := c.DefaultSVID()
	roots := line{}
	for _, b := range c.Bundles.Bundles() {
		roots[b.TrustDomain().String()] = pemOf(b.X509Authorities())
	}
	l := line{"id": svid.ID.String(), "n": len(c.SVIDs), "chain": pemOf(svid.Certificates), "roots": roots,
		"serial": svid.Certificates[0].SerialNumber.String(), "notAfter": svid.Certificates[0].NotAfter.Unix(),
		"key": svid.PrivateKey != nil}
	if id, _, err := x509svid.Verify(svid.Certificates, c.Bundles); err != nil {
		l["verified"] = err.Error()
	} else {
		l["verified"] = id.String()
	}
	say(l)
}

func (watcher) OnX509ContextWatchError(err error) { say(refused(err)) }

func jwt(ctx context.Context, client *workloadapi.Client, audience string) {
	svid, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	if err != nil {
		say(refused(err))
		return
	}
	bundles, err := client.FetchJWTBundles(ctx)
	if err != nil {
		say(refused(err))
		return
	}
	l := line{"id": svid.ID.String(), "token": svid.Marshal(), "expires": svid.Expiry.Unix(), "audience": svid.Audience}
	if checked, err := jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{audience}); err != nil {
		l["verified"] = err.Error()
	} else {
		l["verified"] = checked.ID.String()
	}
	say(l)
	validate(ctx, client, audience, svid.Marshal())
}

func validate(ctx context.Context, client *workloadapi.Client, audience string, token string) {
	checked, err := client.ValidateJWTSVID(ctx, token, audience)
	if err != nil {
		say(refused(err))
		return
	}
	say(line{"validated": checked.ID.String(), "claims": checked.Claims})
}

func bundles(ctx context.Context, client *workloadapi.Client) {
	set, err := client.FetchX509Bundles(ctx)
	if err != nil {
		say(refused(err))
		return
	}
	for _, b := range set.Bundles() {
		say(line{"trustDomain": b.TrustDomain().String(), "roots": pemOf(b.X509Authorities())})
	}
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr("unix://"+os.Args[1]))
	if err != nil {
		say(refused(err))
		os.Exit(1)
	}
	defer client.Close()
	switch os.Args[2] {
	case "watch":
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
		_ = client.WatchX509Context(ctx, watcher{})
		return
	}
	short, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	switch os.Args[2] {
	case "bundles":
		bundles(short, client)
	case "jwt":
		jwt(short, client, os.Args[3])
	case "validate":
		validate(short, client, os.Args[3], os.Args[4])
	}
}
