# Keeps what is in force, and has a timer put it back unless somebody disarms it: `arm SECONDS PATH...`.
# On disk, and enabled: after a loss of power in between the timer runs again.
set -eu
mkdir -p /var/lib/paictl
umask 077
kept=/var/lib/paictl/.restore/hardening
units=/etc/systemd/system
seconds=$1
restore=$2
shift 2
# After a change that nobody confirmed, what was before that is still what is to come back.
if [ ! -e $kept/armed ]; then
  rm -rf $kept
  mkdir -p $kept
  : >$kept/there
  : >$kept/absent
  for path in "$@"; do
    if [ -e "$path" ]; then echo "${path#/}" >>$kept/there; else echo "$path" >>$kept/absent; fi
  done
  tar --create --file $kept/files.tar --directory / --files-from $kept/there
  if command -v nft >/dev/null; then
    nft --stateless --terse list table inet paictl >$kept/table.nft 2>/dev/null || rm -f $kept/table.nft
  fi
  systemctl is-enabled --quiet paictl-firewall.service 2>/dev/null && : >$kept/enabled
  printf '%s\n' "$restore" >$kept/restore.sh
  sync
  : >$kept/armed
fi
umask 022
cat >$units/paictl-restore.service <<UNIT
[Unit]
Description=paictl: put back the firewall and sshd's settings, since nobody came in after the change

[Service]
Type=oneshot
ExecStart=/bin/sh $kept/restore.sh restore
UNIT
cat >$units/paictl-restore.timer <<UNIT
[Unit]
Description=paictl: put back the firewall and sshd's settings unless somebody comes in

[Timer]
OnActiveSec=${seconds}s
AccuracySec=1s

[Install]
WantedBy=timers.target
UNIT
systemctl daemon-reload
systemctl enable --quiet paictl-restore.timer
systemctl restart paictl-restore.timer
sync
