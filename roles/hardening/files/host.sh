# Prints what the host is like: when it took a change back, whether it has sshd, on which ports that listens,
# whether a key let somebody in just now, whether passwords were turned off.
told=/var/lib/paictl/.restore/hardening-restored
[ ! -e $told ] || echo "restored $(cat $told)"
[ -x /usr/sbin/sshd ] || exit 0
echo sshd
# Without its folder in /run sshd tells nothing; a host that starts it by socket has none.
/usr/sbin/sshd -T 2>/dev/null | sed -n 's/^port /port /p'
# By the journal: how the connection was let in that this came by, from address $2 and port $3.
if [ $# -gt 2 ]; then
  said=$(journalctl --quiet --unit=ssh.service --unit=sshd.service --grep="Accepted publickey for [^ ]+ from $2 port $3 " 2>/dev/null)
  [ -z "$said" ] || echo 'key login'
fi
! grep -qs '^PasswordAuthentication no$' "$1" || echo 'keys only'
