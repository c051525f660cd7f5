#!/bin/sh
# The namespace `default`, once the server answers. Compose tries again when it does not yet.
set -eu

temporal operator cluster health
temporal operator namespace describe --namespace default >/dev/null 2>&1 ||
    temporal operator namespace create --namespace default --retention 30d
