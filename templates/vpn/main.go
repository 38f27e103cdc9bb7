// Command vpn is the way to an agent's gateway through WireGuard, without any privilege: the tunnel ends in this process.
//
// It is wireguard-go (golang.zx2c4.com/wireguard) with gVisor's network stack, and what joins the two to one TCP service. No
// interface is made, no route, no packet is forwarded: a peer that holds a key reaches one port of one address, where this
// program listens, and each connection is carried to the gateway. Whoever has no key gets no answer at all.
//
//	vpn FILE           serve; FILE is the configuration, which names the file with the private key
//	vpn --healthy FILE exit 0 when the one that serves has its UDP port
package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/curve25519"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

const (
	// What every path carries, mobile networks and tunnels in tunnels included; nothing here needs large packets.
	mtu         = 1280
	connections = 256
	dialSeconds = 10
	// A model may think for long before its first word, so silence alone says little; a phone that is gone says nothing ever.
	idle = time.Hour
)

type peer struct {
	PublicKey string     `json:"public_key"`
	Address   netip.Addr `json:"address"`
}

type configuration struct {
	Listen  int             `json:"listen"`
	Address netip.Addr      `json:"address"`
	Port    uint16          `json:"port"`
	Target  string          `json:"target"`
	KeyFile string          `json:"key_file"`
	Peers   map[string]peer `json:"peers"`
}

func main() {
	arguments, act := os.Args[1:], serve
	if len(arguments) == 2 && arguments[0] == "--healthy" {
		arguments, act = arguments[1:], healthy
	}
	if len(arguments) != 1 {
		fail(errors.New("usage: vpn [--healthy] FILE"))
	}
	config, err := read(arguments[0])
	if err == nil {
		err = act(config)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "vpn:", err)
	os.Exit(1)
}

func read(path string) (configuration, error) {
	var config configuration
	file, err := os.Open(path)
	if err != nil {
		return config, err
	}
	defer file.Close()
	if err := json.NewDecoder(file).Decode(&config); err != nil {
		return config, fmt.Errorf("%s: %w", path, err)
	}
	config.Target = strings.TrimPrefix(config.Target, "tcp:")
	return config, nil
}

// healthy needs no way into the other process: both see the same table of sockets.
func healthy(config configuration) error {
	wanted := fmt.Sprintf(":%04X", config.Listen)
	for _, path := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		table, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(table), "\n") {
			if fields := strings.Fields(line); len(fields) > 1 && strings.HasSuffix(fields[1], wanted) {
				return nil
			}
		}
	}
	return fmt.Errorf("nothing listens on UDP port %d", config.Listen)
}

func serve(config configuration) error {
	key, err := privateKey(config.KeyFile)
	if err != nil {
		return err
	}
	settings, err := uapi(config, key)
	if err != nil {
		return err
	}
	tunnel, stack, err := netstack.CreateNetTUN([]netip.Addr{config.Address}, nil, mtu)
	if err != nil {
		return err
	}
	wireguard := device.NewDevice(tunnel, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, "vpn: "))
	defer wireguard.Close()
	if err := wireguard.IpcSet(settings); err != nil {
		return err
	}
	if err := wireguard.Up(); err != nil {
		return fmt.Errorf("UDP port %d: %w", config.Listen, err)
	}
	listener, err := stack.ListenTCPAddrPort(netip.AddrPortFrom(config.Address, config.Port))
	if err != nil {
		return err
	}
	public, err := curve25519.X25519(key, curve25519.Basepoint)
	if err != nil {
		return err
	}
	// `paictl vpn` reads this line.
	fmt.Printf("vpn: public key %s, %d peers\n", base64.StdEncoding.EncodeToString(public), len(config.Peers))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		listener.Close()
	}()
	return carry(ctx, listener, config.Target)
}

// privateKey takes any 32 bytes, as URL-safe or standard base64: WireGuard itself sets the bits that a key must have.
func privateKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	standard := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(strings.TrimSpace(string(text)), "="))
	key, err := base64.RawStdEncoding.DecodeString(standard)
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s does not hold 32 bytes as base64", path)
	}
	return key, nil
}

func uapi(config configuration, key []byte) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "private_key=%s\nlisten_port=%d\nreplace_peers=true\n", hex.EncodeToString(key), config.Listen)
	for name, one := range config.Peers {
		public, err := base64.StdEncoding.DecodeString(one.PublicKey)
		if err != nil || len(public) != 32 {
			return "", fmt.Errorf("the public key of %s is none", name)
		}
		fmt.Fprintf(&text, "public_key=%s\nreplace_allowed_ips=true\n", hex.EncodeToString(public))
		fmt.Fprintf(&text, "allowed_ip=%s/%d\n", one.Address, one.Address.BitLen())
	}
	return text.String(), nil
}

// carry takes connections to the target until it is told to end; what is under way then ends with the process.
func carry(ctx context.Context, listener net.Listener, target string) error {
	free := make(chan struct{}, connections)
	for {
		inside, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case free <- struct{}{}:
			go func() {
				defer func() { <-free }()
				join(ctx, inside, target)
			}()
		default:
			inside.Close()
		}
	}
}

func join(ctx context.Context, inside net.Conn, target string) {
	defer inside.Close()
	dialer := net.Dialer{Timeout: dialSeconds * time.Second}
	outside, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vpn: the gateway does not answer:", err)
		return
	}
	defer outside.Close()
	var both sync.WaitGroup
	both.Go(func() { pour(outside, inside) })
	both.Go(func() { pour(inside, outside) })
	both.Wait()
}

// pour copies until the source ends, and says so to the sink, whose own words may go on.
func pour(sink, source net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		source.SetReadDeadline(time.Now().Add(idle))
		count, err := source.Read(buffer)
		if count > 0 {
			sink.SetWriteDeadline(time.Now().Add(idle))
			if _, failed := sink.Write(buffer[:count]); failed != nil {
				source.Close()
				return
			}
		}
		if err != nil {
			if half, ok := sink.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) {
				half.CloseWrite()
			} else {
				sink.Close()
			}
			return
		}
	}
}
