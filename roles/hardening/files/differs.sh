# Prints what is not as it is to be: files (arguments: path and SHA-256 in turn), the table that is in force, the unit that
# loads it, what sshd has read; and whether an earlier change still waits to be confirmed. Changes nothing.
table=$1
shift
while [ $# -gt 1 ]; do
  sum=$(sha256sum "$1" 2>/dev/null | cut -d ' ' -f 1)
  kind=$(stat --format '%a %U %G' "$1" 2>/dev/null)
  [ "$sum $kind" = "$2 644 root root" ] || echo "$1"
  shift 2
done
[ -e /var/lib/paictl/.restore/hardening/armed ] && echo armed
if command -v nft >/dev/null && [ -e "$table" ]; then
  # What the file means, this nft says best, in a network where it does nothing.
  wanted=$(unshare --net sh -ec "nft --file $table; nft --stateless --terse list table inet paictl" 2>/dev/null)
  [ -n "$wanted" ] && [ "$wanted" = "$(nft --stateless --terse list table inet paictl 2>/dev/null)" ] || echo table
fi
[ "$(systemctl is-enabled paictl-firewall.service 2>/dev/null)" = enabled ] || echo unit
[ "$(systemctl is-active paictl-firewall.service 2>/dev/null)" = active ] || echo unit
if [ -x /usr/sbin/sshd ] && [ "$(systemctl is-active ssh.service 2>/dev/null)" = active ]; then
  # By the clock that nobody sets: a Pi's jumps when it first hears the time.
  began=$(systemctl show --property ExecMainStartTimestampMonotonic --value ssh.service)
  up=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)
  start=$(($(date +%s%N) / 1000 - up * 10000 + began))
  start=$((start / 1000000)).$(printf %06d $((start % 1000000)))
  read=/run/paictl-sshd-read
  [ -e $read ] && newer="-cnewer $read" || newer=''
  # shellcheck disable=SC2086 # two words or none
  [ -z "$(find /etc/ssh/sshd_config /etc/ssh/sshd_config.d -newerct "@$start" $newer)" ] || echo ssh
fi
exit 0
