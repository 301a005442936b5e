#!/bin/sh
# Fetches the peers that the test suite cannot assume: Kannel and tshark from Debian, smpp from
# npm. They are unpacked below DIR, not installed: no root, nothing on the machine changes.
#
#     tests/interop/install.sh DIR && TANDEM_INTEROP_DIR=DIR python -m pytest tests/interop
set -eu
mkdir -p "$1"
cd "$1"
if [ ! -x kannel/usr/sbin/bearerbox ]; then
    mkdir -p debs
    (cd debs && apt-get download -qq kannel libmariadb3 libpcre3 libhiredis0.14 libct4)
    for package in debs/*.deb; do dpkg -x "$package" kannel; done
fi
if [ ! -x tshark/usr/bin/tshark ]; then
    mkdir -p tshark-debs
    (cd tshark-debs && apt-get download -qq tshark wireshark-common libwireshark16 libwiretap13 \
        libwsutil14 libc-ares2 liblua5.2-0 libpcap0.8 libsmi2ldbl libsnappy1v5 libspandsp2 \
        libmaxminddb0 libssh-gcrypt-4)
    for package in tshark-debs/*.deb; do dpkg -x "$package" tshark; done
fi
if [ ! -d node_modules/smpp ]; then
    npm install --silent --no-audit --no-fund --prefix . smpp@0.5
fi
