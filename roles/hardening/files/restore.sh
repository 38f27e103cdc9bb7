# `restore` puts back what `arm` kept, as far as it goes, and leaves word of it; `disarm` forgets it.
kept=/var/lib/paictl/.restore/hardening
told=/var/lib/paictl/.restore/hardening-restored
restore() {
  if [ ! -e $kept/enabled ]; then
    systemctl disable --now --quiet paictl-firewall.service
  fi
  while read -r path; do rm -f -- "$path"; done <$kept/absent
  tar --extract --preserve-permissions --file $kept/files.tar --directory /
  systemctl daemon-reload
  if command -v nft >/dev/null; then
    { echo 'table inet paictl'; echo 'delete table inet paictl'; cat $kept/table.nft 2>/dev/null; } | nft --file -
  fi
  if [ -x /usr/sbin/sshd ] && /usr/sbin/sshd -t; then
    touch /run/paictl-sshd-read
    systemctl try-reload-or-restart ssh.service
  fi
  date --utc '+%Y-%m-%d %H:%M:%S UTC' >$told
}
disarm() {
  systemctl disable --now --quiet paictl-restore.timer
  rm -f /etc/systemd/system/paictl-restore.timer /etc/systemd/system/paictl-restore.service
  rm -rf $kept
  systemctl daemon-reload
  sync
}
case $1 in
  restore)
    [ ! -e $kept/armed ] || restore
    disarm
    ;;
  disarm)
    systemctl stop paictl-restore.timer
    if [ ! -e $kept/armed ] || [ "$(systemctl is-active paictl-restore.service)" = activating ]; then
      echo 'it was too slow for hardening_confirm_seconds, and put everything back before it was told to keep it' >&2
      exit 1
    fi
    rm -f $told
    disarm
    rmdir "${kept%/*}" /var/lib/paictl 2>/dev/null
    ;;
esac
exit 0
