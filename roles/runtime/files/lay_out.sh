# Creates what a file for systemd-tmpfiles speaks of, and says whether anything was not so before: sh -c … lay-out FILE.
told() {
  # Each path without a blank in it: they are paictl's own names.
  find $(awk '/^[dL]/ { print $2 }' "$1") -maxdepth 0 -printf '%p %y %m %U %G %l\n' 2>/dev/null
}
before=$(told "$1")
systemd-tmpfiles --create "$1"
test "$before" = "$(told "$1")" || echo changed
