#!/bin/sh
# Archive new music from cron. Cron mails what a command prints; this one prints only on failure.
# In the crontab of a user who may read the music and write the archive:
#
#     MAILTO=you@example.org
#     0 2 * * *  /opt/earzip/earzip-cron.sh
set -eu
: "${EARZIP:=/opt/earzip/bin/earzip}" "${MUSIC:=/srv/music}" "${ARCHIVE:=/srv/archive}"
: "${LOGS:=/var/log/earzip}"

mkdir -p "$LOGS"

# earzip inherits the open file, so the lock lasts as long as any process of the run.
exec 9>"$LOGS/lock"
flock -n 9 || exit 75 # last night's run is still working; leave its logs alone

# The options that the archives were made with, as --quality or --pictures share, belong here too, or into the
# user's ~/.config/earzip/config.toml.
code=0
"$EARZIP" compress "$MUSIC" -o "$ARCHIVE" --json >"$LOGS/last.jsonl" 2>"$LOGS/last.log" || code=$?
case $code in
    0) ;;  # all done
    75) ;; # stopped, or locked by another run: the next night continues
    *)
        echo "earzip ended with $code; $LOGS/last.log ends with:"
        tail -n 40 "$LOGS/last.log"
        ;;
esac
exit "$code"
