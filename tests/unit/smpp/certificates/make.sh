#!/bin/sh
# Makes the certificates of the TLS tests again: an authority, a server "smsc.example", a client.
# They are good for a hundred years, and for nothing but these tests.
set -eu
cd "$(dirname "$0")"
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 "$@" 2>/dev/null; }
new -x509 -keyout authority.key -out authority.pem -subj "/CN=Tandem test authority"
for name in server client; do
    new -keyout "$name.key" -out "$name.csr" -subj "/CN=$name"
    printf 'subjectAltName=DNS:smsc.example\nextendedKeyUsage=serverAuth,clientAuth\n' > "$name.ext"
    openssl x509 -req -in "$name.csr" -CA authority.pem -CAkey authority.key -CAcreateserial \
        -days 36500 -extfile "$name.ext" -out "$name.pem" 2>/dev/null
    rm "$name.csr" "$name.ext"
done
rm authority.key authority.srl
