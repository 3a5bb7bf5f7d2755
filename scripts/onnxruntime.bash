# Sourced by the scripts that compare with onnxruntime: gets onnxruntime-node. They set `runtime`, the folder for it,
# `log`, a file for messages, and give_up().
# shellcheck shell=bash disable=SC2154

version=1.30.0  # of onnxruntime-node

# Whether onnxruntime-node is there, whole and of the version that we want.
runtime_works() {
  node -e 'process.exit(require(process.argv[1]).env.versions.node === process.argv[2] ? 0 : 1)' \
    "$runtime/node_modules/onnxruntime-node" "$version" 2>"$log"
}

# Its own install script would fetch the code for GPUs from elsewhere; the code for processors comes in the package.
install_runtime() {
  command -v node >/dev/null || give_up "node is missing; on Debian: apt-get install nodejs npm"
  if runtime_works; then return; fi
  command -v npm >/dev/null || give_up "npm is missing; on Debian: apt-get install npm"
  echo "installing onnxruntime-node $version in $runtime …" >&2
  rm -rf -- "$runtime" && mkdir -p -- "$runtime"  # npm doesn't mend what is broken
  npm install --ignore-scripts --no-save --no-audit --no-fund --prefix "$runtime" "onnxruntime-node@$version" >&2 ||
    give_up "npm couldn't install onnxruntime-node $version"
  runtime_works || give_up "onnxruntime-node $version doesn't load: $(grep -m 1 Error "$log")"
}
