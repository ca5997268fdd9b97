{
  description = "Kennel: push to deploy on one Linux host, out of systemd, Nix and SQLite";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      forSystems =
        make:
        lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (system: make nixpkgs.legacyPackages.${system});
      manifest = lib.importTOML ./Cargo.toml;
      programs = lib.concatMap (name: [ "--package" name ]) [
        "kennel-api"
        "kennel-build"
        "kennel-deploy"
        "kennel-dispatch"
        "kennel-acme"
        "kennel-poll"
        "kennel-router"
        "kennel-sweep"
        "kennel-webhook"
        "kennelctl"
      ];
    in
    {
      packages = forSystems (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "kennel";
          inherit (manifest.workspace.package) version;
          # Only what is compiled or compared with it: a changed guide builds nothing anew.
          src = lib.fileset.toSource {
            root = ./.;
            fileset = lib.fileset.unions [
              ./.cargo
              ./ARCHITECTURE.md
              ./Cargo.lock
              ./Cargo.toml
              ./clippy.toml
              ./crates
              ./polkit-1
              ./sysusers.d
              ./tests
              ./tmpfiles.d
              ./units
            ];
          };
          cargoLock.lockFile = ./Cargo.lock;
          # xtask and the end-to-end suite need root and a host to boot.
          cargoBuildFlags = programs;
          cargoTestFlags = programs;
          nativeCheckInputs = [ pkgs.git ];
          postInstall = ''
            mkdir -p $out/lib/kennel
            for program in acme api build deploy dispatch poll router sweep webhook; do
              mv $out/bin/kennel-$program $out/lib/kennel/
            done
            mkdir -p $out/lib/systemd $out/share
            cp -r units $out/lib/systemd/system
            cp -r sysusers.d tmpfiles.d $out/lib/
            cp -r polkit-1 $out/share/
            substituteInPlace $out/lib/systemd/system/*.service \
              --replace-quiet /usr/lib/kennel $out/lib/kennel
          '';
          meta = {
            description = "Push to deploy on one Linux host";
            license = [
              lib.licenses.mit
              lib.licenses.asl20
            ];
            mainProgram = "kennelctl";
            platforms = lib.platforms.linux;
          };
        };
      });

      devShells = forSystems (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.default ];
          packages = [
            pkgs.cargo-deny
            pkgs.cargo-insta
            pkgs.clippy
            pkgs.rust-analyzer
            pkgs.rustfmt
          ];
        };
      });

      formatter = forSystems (pkgs: pkgs.nixfmt-rfc-style);
    };
}
