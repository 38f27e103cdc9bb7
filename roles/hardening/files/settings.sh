# Compares the kernel's settings with `NAME = VALUE` lines on standard input, prints those that differ, and with `set` sets them.
# What this host does not have, or may not set (as in a container), stays as it is and is not told.
while IFS=' ' read -r name _ value; do
  name=${name#-}
  file=/proc/sys/$(printf '%s' "$name" | tr . /)
  [ -r "$file" ] || continue
  before=$(cat "$file")
  [ "$before" = "$value" ] && continue
  [ "$1" = set ] || { echo "$name"; continue; }
  printf '%s\n' "$value" 2>/dev/null >"$file" || continue
  [ "$(cat "$file")" = "$before" ] || echo "$name"
done
exit 0
