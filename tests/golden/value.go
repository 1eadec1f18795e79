// Values as Go's encoding/json writes and reads them: the reference for knit's own codec.
//
//	go run value.go write DIR   writes one file per case into DIR
//	go run value.go read FILE   decodes FILE as the Go knit does, and writes the six members again
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Value has the members of the original, in its order.
type Value struct {
	Fullchain string `json:"fullchain"`
	Privkey   string `json:"privkey"`
	NotAfter  string `json:"not_after"`
	SHA256    string `json:"sha256"`
	CertPath  string `json:"cert_path"`
	KeyPath   string `json:"key_path"`
}

func hash(fullchain, privkey string) string {
	sum := sha256.New()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(fullchain)))
	sum.Write(length[:])
	sum.Write([]byte(fullchain))
	sum.Write([]byte(privkey))
	return hex.EncodeToString(sum.Sum(nil))
}

func value(fullchain, privkey string, notAfter time.Time, certPath, keyPath string) Value {
	return Value{fullchain, privkey, notAfter.UTC().Format(time.RFC3339), hash(fullchain, privkey), certPath, keyPath}
}

func block(kind, body string) string {
	return "-----BEGIN " + kind + "-----\n" + body + "\n-----END " + kind + "-----\n"
}

func cases() map[string]Value {
	end := time.Date(2026, 8, 1, 12, 30, 5, 0, time.UTC)
	east := time.Date(2027, 1, 1, 1, 0, 0, 0, time.FixedZone("", 5*3600+1800))
	leaf := block("CERTIFICATE", "MIIB+/==")
	key := block("PRIVATE KEY", "not+a/key=")
	var controls strings.Builder
	for character := rune(0); character < 0x20; character++ {
		controls.WriteRune(character)
	}
	return map[string]Value{
		"plain":      value(leaf+leaf, key, end, "/etc/ssl/a.crt", "/etc/ssl/a.key"),
		"vector":     value("CERT", "KEY", end, "/c", "/k"),
		"empty":      value("", "", end, "", ""),
		"html":       value("<&>", "</script>&amp;", end, "/a&b/<c>", "/k>"),
		"quotes":     value(`"\/`, `\\"`, end, `/a"b`, `/a\b`),
		"controls":   value(controls.String()+"\x7f", "\r\n\t", end, "/\b", "/\f"),
		"separators": value("\u2028", "\u2029", end, "/\u2028\u2029", "/\u00a0"),
		"languages":  value("ß€漢字", "😀\U0010ffff", end, "/é", "/e\u0301"),
		"zone":       value(leaf, key, east, "/c", "/k"),
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: value write DIR | read FILE"))
	}
	if os.Args[1] == "write" {
		for name, one := range cases() {
			raw, err := json.Marshal(one)
			fail(err)
			fail(os.WriteFile(filepath.Join(os.Args[2], name+".json"), raw, 0o644))
		}
		return
	}
	raw, err := os.ReadFile(os.Args[2])
	fail(err)
	var read Value
	fail(json.NewDecoder(bytes.NewReader(raw)).Decode(&read))
	again, err := json.Marshal(read)
	fail(err)
	_, err = os.Stdout.Write(again)
	fail(err)
}
