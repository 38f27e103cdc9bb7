# Installs named packages from a folder of .deb files, with what they need from there and nothing from anywhere else.
# Files of packages that are installed already stay unused: they could be older.
set -eu
folder=$1
shift
export DEBIAN_FRONTEND=noninteractive
fitting="$(dpkg --print-architecture) all"
set -- $1
files=''
for file in "$folder"/*.deb; do
  name=$(dpkg-deb --field "$file" Package)
  kind=$(dpkg-deb --field "$file" Architecture)
  case " $fitting " in *" $kind "*) ;; *) continue ;; esac
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null) || state=''
  [ "$state" = installed ] || files="$files $file"
done
for name in "$@"; do
  found=''
  for file in $files; do
    [ "$(dpkg-deb --field "$file" Package)" = "$name" ] && found=yes
  done
  [ -n "$found" ] || { echo "no .deb file of $name for $fitting" >&2; exit 1; }
done
# Without a mirror to ask; --no-download would lose the files' paths.
# shellcheck disable=SC2086 # a list of files
apt-get install --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=60 -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null $files
