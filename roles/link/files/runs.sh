# `runs UNIT DIGEST`: whether what runs was started as what is written down, and will be after the next start of the machine.
[ "$(cat "/run/credentials/$1/made-of" 2>/dev/null)" = "$2" ] || exit 0
[ "$(systemctl is-active "$1")" = active ] || exit 0
systemctl is-enabled --quiet "$1" || exit 0
echo 'as it is to be'
