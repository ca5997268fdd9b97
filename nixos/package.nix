# Kennel's programs, units, users, directories and polkit rules, as systemd and NixOS look for them.
{
  lib,
  rustPlatform,
  git,
}:
let
  manifest = lib.importTOML ../Cargo.toml;
  # What units start, and what people type: xtask and the end-to-end suite need root and a host.
  programs = lib.concatMap (name: [
    "--package"
    name
  ]) [
    "kennel-acme"
    "kennel-api"
    "kennel-build"
    "kennel-deploy"
    "kennel-dispatch"
    "kennel-poll"
    "kennel-router"
    "kennel-sweep"
    "kennel-webhook"
    "kennelctl"
  ];
in
rustPlatform.buildRustPackage {
  pname = "kennel";
  inherit (manifest.workspace.package) version;
  # Only what is compiled, installed or compared with it: a changed guide builds nothing anew.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../.cargo
      ../ARCHITECTURE.md
      ../Cargo.lock
      ../Cargo.toml
      ../clippy.toml
      ../crates
      ../man
      ../nixos/install
      ../polkit-1
      ../sysusers.d
      ../tests
      ../tmpfiles.d
      ../units
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = programs;
  cargoTestFlags = programs;
  nativeCheckInputs = [ git ];
  # Where cargo's own hook has put the programs, until they lie where units look for them.
  postInstall = ''
    mv $out/bin programs
    sh nixos/install . programs $out
    $out/bin/kennelctl generate completions completions
    $out/bin/kennelctl generate man $out/share/man/man1
    install -Dm644 completions/kennelctl $out/share/bash-completion/completions/kennelctl
    install -Dm644 completions/_kennelctl $out/share/zsh/site-functions/_kennelctl
    install -Dm644 completions/kennelctl.fish $out/share/fish/vendor_completions.d/kennelctl.fish
  '';
  meta = {
    description = "Push to deploy on one Linux host";
    homepage = manifest.workspace.package.repository;
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    mainProgram = "kennelctl";
    platforms = lib.platforms.linux;
  };
}
