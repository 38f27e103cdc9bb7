# Prints those of the named packages that are not installed.
for name in $1; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null) || state=''
  [ "$state" = installed ] || echo "$name"
done
