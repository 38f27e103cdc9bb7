# Makes a directory of data, and gives all of it to its user where it is somebody else's: sh -c … volume USER PATH. Says "changed".
# Data that outlived its user, or came from another host, belongs to a number that was nobody's or somebody else's.
mkdir -p "$2"
if [ "$(stat --format='%U:%G %a' "$2")" != "$1:$1 700" ]; then
  chown --recursive --no-dereference "$1:$1" "$2"
  chmod 0700 "$2"
  echo changed
fi
