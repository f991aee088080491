//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sluice/actors/node/cluster"
)

// initMember makes the data directory of node 1 of three at an address.
func initMember(t *testing.T, host string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "member")
	m := cluster.Membership{Cluster: cluster.ID{1}, Node: 1}
	for n := range 3 {
		m.Members = append(m.Members, cluster.Member{Node: uint8(n + 1), Peer: fmt.Sprintf("%s:%d", host, 9871+n),
			Client: fmt.Sprintf("%s:%d", host, 9881+n)})
	}
	if err := cluster.Init(dir, m); err != nil {
		t.Fatal(err)
	}
	return dir
}

// `serve` and `config check` refuse settings that do not fit the data directory.
func TestMemberSettingsFitTheDirectory(t *testing.T) {
	near, far, alone := initMember(t, "127.0.0.1"), initMember(t, "192.0.2.1"), t.TempDir()
	damaged := initMember(t, "127.0.0.1")
	if err := os.MkdirAll(filepath.Join(alone, "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(alone, "journal", "FORMAT"), []byte("sluice journal 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(damaged, "cluster"), 100); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		code int
		args []string
		want []string
	}{
		{"member without the flag", exitUsage, []string{"--data-dir", near}, []string{near, "add --cluster"}},
		{"no directory", exitFailure, []string{"--cluster"}, []string{"mount its volume", "sluice cluster init"}},
		{"directory of a single node", exitUsage, []string{"--cluster", "--data-dir", alone},
			[]string{alone, "of a single node", "sluice cluster init"}},
		{"damaged membership", exitFailure, []string{"--cluster", "--data-dir", damaged},
			[]string{damaged, "damaged", "restore"}},
		{"policy that three nodes cannot meet", exitUsage,
			[]string{"--cluster", "--data-dir", near, "--policy", "persisted>=4"}, []string{"persisted>=4", "3"}},
		{"policy that is exposed", exitUsage,
			[]string{"--cluster", "--data-dir", near, "--policy", "local"},
			[]string{"exposed", "persisted>=2", "--force-policy"}},
		{"other machines without certificates", exitUsage, []string{"--cluster", "--data-dir", far},
			[]string{"192.0.2.1:9871", "--peer-cert", "need certificates"}},
		{"open address without certificates", exitUsage,
			[]string{"--cluster", "--data-dir", near, "--peer-listen", "0.0.0.0:9870"},
			[]string{"0.0.0.0:9870", "--peer-cert", "need certificates"}},
		{"missing certificate", exitUsage, []string{"--cluster", "--data-dir", far, "--peer-cert",
			"/nonexistent/c", "--peer-key", "/nonexistent/k", "--peer-ca", "/nonexistent/a"},
			[]string{"/nonexistent/c", "--peer-cert"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, command := range [][]string{{"config", "check"}, {"serve"}} {
				p := start(t, append(append(command, "--listen-tcp", "127.0.0.1:0", "--admin-address",
					"127.0.0.1:0", "--data-dir", filepath.Join(t.TempDir(), "data")), tt.args...)...)
				p.ends(tt.code, tt.want...)
			}
		})
	}
}
