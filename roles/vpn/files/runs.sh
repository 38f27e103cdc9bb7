# `runs UNIT DIGEST DOOR-DIGEST INTERFACE LISTEN PORT`, the devices on standard input: prints what does not run as it is written
# down, or would not after the next start of the machine: `vpn`, `door`, `devices`. PORT is empty where the kernel has it.
made_of() { cat "/run/credentials/$1/made-of" 2>/dev/null; }
runs() { [ "$(systemctl is-active "$1")" = active ] && systemctl is-enabled --quiet "$1"; }
listens() { runs "$1" && [ "$(systemctl show --property Listen --value "$1")" = "$2" ]; }
serves() { runs "$1.service" && [ "$(made_of "$1.service")" = "$2" ] && { [ -z "$3" ] || runs "$1.socket"; }; }
if ! serves "$1" "$2" "$6"; then
  # The door stands in its network.
  printf 'vpn\ndoor\n'
  exit 0
elif [ "$(wg show "$4" allowed-ips | tr '\t' ' ' | sort)" != "$(sort)" ]; then
  echo devices
fi
if ! listens "$1-door.socket" "$5 (Stream)"; then
  echo door
elif systemctl is-active --quiet "$1-door.service" && [ "$(made_of "$1-door.service")" != "$3" ]; then
  echo door
fi
exit 0
