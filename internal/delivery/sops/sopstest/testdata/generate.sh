#!/usr/bin/env bash
# generate.sh SOPS: encrypts what is in plain/ by the real sops, and decrypts it again, for tests that compare. The keys here are of these tests alone.
set -euo pipefail
sops=$(realpath "$1"); cd "$(dirname "$0")"
export SOPS_DISABLE_VERSION_CHECK=1 SOPS_AGE_KEY_FILE=$PWD/keys.txt SOPS_AGE_SSH_PRIVATE_KEY_FILE=$PWD/ssh_ed25519
grep -hv '^#' x25519.agekey hybrid.agekey > keys.txt
x=$(sed -n 's/^# recipient: //p' x25519.agekey) hybrid=$(sed -n 's/^# recipient: //p' hybrid.agekey)
stranger=age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg
rm -rf encrypted decrypted; mkdir encrypted decrypted
# encrypt SOURCE TARGET RULE...: each rule is a line of .sops.yaml
encrypt() {
  { echo "creation_rules:"; echo "  - path_regex: .*"; printf '    %s\n' "${@:3}"; } > config.tmp
  "$sops" --config config.tmp encrypt --filename-override "$1" "plain/$1" > "encrypted/$2"
  "$sops" decrypt "encrypted/$2" > "decrypted/$2"
  rm config.tmp
}
data="encrypted_regex: ^(data|stringData)$"
encrypt secret.yaml secret.yaml "age: $x" "$data"
encrypt secret.yaml secret-maconly.yaml "age: $x" "$data" "mac_only_encrypted: true"
encrypt secret.yaml secret-hybrid.yaml "age: $hybrid" "$data"
encrypt secret.yaml secret-ssh.yaml "age: $(cat ssh_ed25519.pub)" "$data"
encrypt secret.yaml secret-two.yaml "age: $stranger,$x" "$data"
encrypt secret.yaml secret-comment.yaml "age: $x" "encrypted_comment_regex: the one of"
encrypt secret.yaml secret-openbycomment.yaml "age: $x" "unencrypted_comment_regex: as a whole"
encrypt secret.yaml secret-suffix.yaml "age: $x" "encrypted_suffix: word"
encrypt secret.yaml secret-openregex.yaml "age: $x" "unencrypted_regex: ^(apiVersion|kind|metadata|type)$"
encrypt several.yaml several.yaml "age: $x" "$data"
for file in app.yaml app-2.yaml patch.yaml; do encrypt $file $file "age: $x" "$data"; done
encrypt settings.yaml settings.yaml "age: $x" "encrypted_regex: ^key$"
encrypt settings.yaml settings-maconly.yaml "age: $x" "encrypted_regex: ^key$" "mac_only_encrypted: true"
encrypt app.yaml app-whole.yaml "age: $x"
for file in types.yaml types.json file.env file.ini file.bin file.txt; do encrypt $file $file "age: $x"; done
rm keys.txt
