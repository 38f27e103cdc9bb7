// Command client is a WireGuard peer for the tests, as a phone would be: it reads a configuration as wg-quick does, needs no
// privilege, and reaches what is behind the tunnel.
//
//	client FILE forward ADDRESS:PORT   listen on loopback, say where, and carry connections there
//	client FILE try ADDRESS:PORT …     connect to each, and say what came of it
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

const patience = 4 * time.Second

func main() {
	log.SetFlags(0)
	settings := read(os.Args[1])
	stack := tunnel(settings)
	switch os.Args[2] {
	case "forward":
		forward(stack, os.Args[3])
	case "try":
		for _, place := range os.Args[3:] {
			fmt.Println(place, try(stack, place))
		}
	}
}

func read(path string) map[string]string {
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	found, section := map[string]string{}, ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		} else if name, value, is := strings.Cut(line, "="); is {
			found[section+"."+strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return found
}

func tunnel(settings map[string]string) *netstack.Net {
	address := netip.MustParsePrefix(settings["Interface.Address"]).Addr()
	endpoint, err := net.ResolveUDPAddr("udp", settings["Peer.Endpoint"])
	if err != nil {
		log.Fatal(err)
	}
	interfaced, stack, err := netstack.CreateNetTUN([]netip.Addr{address}, nil, 1280)
	if err != nil {
		log.Fatal(err)
	}
	wireguard := device.NewDevice(interfaced, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	said := fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=%s\n",
		hexed(settings["Interface.PrivateKey"]), hexed(settings["Peer.PublicKey"]), endpoint)
	for _, allowed := range strings.Split(settings["Peer.AllowedIPs"], ",") {
		said += "allowed_ip=" + strings.TrimSpace(allowed) + "\n"
	}
	if err := wireguard.IpcSet(said); err != nil {
		log.Fatal(err)
	}
	if err := wireguard.Up(); err != nil {
		log.Fatal(err)
	}
	return stack
}

func hexed(key string) string {
	bytes, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		log.Fatal(err)
	}
	return hex.EncodeToString(bytes)
}

func try(stack *netstack.Net, place string) string {
	limited, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reached, err := stack.DialContext(limited, "tcp", place)
	if err != nil {
		return err.Error()
	}
	reached.Close()
	return "connected"
}

func forward(stack *netstack.Net, place string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	for {
		outside, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer outside.Close()
			inside, err := stack.Dial("tcp", place)
			if err != nil {
				log.Print(err)
				return
			}
			defer inside.Close()
			go func() {
				io.Copy(inside, outside)
				inside.(interface{ CloseWrite() error }).CloseWrite()
			}()
			io.Copy(outside, inside)
		}()
	}
}
