#!/bin/sh
# Brings the Debian packages a checkout needs onto this machine: only those that are missing, their services neither
# started nor enabled. And the virtual reader's driver into .cache/vpcd: its package is not installed, because that
# configures a reader for the system's own pcscd. `packages.sh tests` brings what only the tests need, too.
set -eu
tier=${1:-demo}
cd "$(dirname "$0")/../.."

DRIVER=.cache/vpcd/libifdvpcd.so

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else
        echo "Not root and no sudo: install these as root, then try again: $missing" >&2
        exit 1
    fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@"; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# `apt-get install` with every service start refused, and what this script puts in place for that removed again.
install_quietly() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'as_root rm -f $policy' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    # shellcheck disable=SC2086 # a list of words
    set -- install -y --no-install-recommends $missing
    { apt "$@" || { apt update && apt "$@"; }; } >.cache/packages.log 2>&1 || {
        cat .cache/packages.log >&2
        exit 1
    }
    case " $missing " in *' pcscd '*)
        # Also where systemd does not run (yet), and an upgrade of the package respects it.
        as_root env DPKG_MAINTSCRIPT_PACKAGE=pcscd deb-systemd-helper disable pcscd.socket pcscd.service ;;
    esac
    case " $missing " in *' postgresql '*)
        as_root env DPKG_MAINTSCRIPT_PACKAGE=postgresql-common deb-systemd-helper disable postgresql.service ;;
    esac
    case " $missing " in *' prometheus '*)
        as_root env DPKG_MAINTSCRIPT_PACKAGE=prometheus deb-systemd-helper disable prometheus.service ;;
    esac
    case " $missing " in *' seatd '*)
        as_root env DPKG_MAINTSCRIPT_PACKAGE=seatd deb-systemd-helper disable seatd.service ;;
    esac
}

# A package's file needs no root, so apt's own change of user has nothing to protect.
fetch_driver() { apt-get -qq -o APT::Sandbox::User=root download vsmartcard-vpcd; }

missing=
while read -r package why; do
    [ "$package" != tests: ] || [ "$tier" = tests ] || break
    [ -n "$why" ] || continue
    installed "$package" && continue
    [ -n "$missing" ] || echo 'Debian packages that are missing and now installed (no service is started or enabled):'
    printf '  %-16s  %s\n' "$package" "$why"
    missing="$missing $package"
done <<'NEEDED'
python3           runs everything here
python3-venv      keeps what comes from PyPI in .venv
python3-dev       headers to compile pyscard, the PC/SC binding
gcc               compiles pyscard
libc6-dev         compiles pyscard
libpcsclite-dev   headers to compile pyscard
pkg-config        finds those headers
pcscd             the PC/SC service (a private copy of it is run; the service itself stays off)
opensc            reads the card as foreign software (opensc-tool, pkcs15-tool, pkcs11-tool)
opensc-pkcs11     signs with the card as foreign software
openssl           verifies what the card signed
util-linux        setpriv: no process outlives the command that started it
ca-certificates   trust roots for PyPI
tests:
postgresql        the centre's database (tests run a private one; the service itself stays off)
prometheus        judges metrics and alert rules, and scrapes (the service itself stays off)
softhsm2          a PKCS #11 token in software, for the centre's master key (a library; it runs no service)
chromium          the browser of the kiosk's screen
cage              the compositor of the kiosk's screen
xwayland          without which cage does not start
seatd             opens the panel for it (the service itself stays off)
fonts-noto-cjk    the screen's Chinese and Korean
mmdebstrap        builds the throw-away system that the package is installed in
systemd-container boots it (systemd-nspawn)
NEEDED
mkdir -p .cache
[ -z "$missing" ] || install_quietly

if [ ! -e $DRIVER ]; then
    echo "Virtual reader's driver, unpacked into ${DRIVER%/*} and not installed: vsmartcard-vpcd"
    rm -rf .cache/vpcd
    mkdir -p .cache/vpcd/package
    cd .cache/vpcd/package
    fetch_driver 2>/dev/null || { apt update && fetch_driver; }
    dpkg-deb -x vsmartcard-vpcd_*.deb .
    cp usr/lib/*/drivers/serial/libifdvpcd.so.* ../libifdvpcd.so
fi
