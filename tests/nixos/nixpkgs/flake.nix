# What flake.nix uses of nixpkgs: packages that are made of nothing, and their names.
{
  outputs =
    { self }:
    let
      package =
        system: name: more:
        derivation {
          inherit name system;
          builder = "/bin/sh";
        }
        // more;
      lib = {
        genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
        importTOML = path: builtins.fromTOML (builtins.readFile path);
        concatMap = builtins.concatMap;
        licenses = {
          mit = "MIT";
          asl20 = "Apache-2.0";
        };
        platforms.linux = [ ];
        fileset = {
          toSource = { root, fileset }: { inherit root fileset; };
          unions = paths: paths;
        };
        mkDefault = value: value;
      };
      packages =
        system:
        let
          pkgs = {
            inherit lib;
            stdenv.hostPlatform = { inherit system; };
            git = package system "git" { };
            installShellFiles = package system "install-shell-files" { };
            cargo-deny = package system "cargo-deny" { };
            cargo-insta = package system "cargo-insta" { };
            clippy = package system "clippy" { };
            rust-analyzer = package system "rust-analyzer" { };
            rustfmt = package system "rustfmt" { };
            nixfmt-tree = package system "nixfmt" { };
            rustPlatform.buildRustPackage =
              given: package system "${given.pname}-${given.version}" { inherit given; };
            mkShell = given: package system "shell" { inherit given; };
            testers.runNixOSTest = test: package system "vm-test" { inherit test; };
            callPackage =
              path: more:
              let
                make = import path;
              in
              make (builtins.intersectAttrs (builtins.functionArgs make) pkgs // more);
          };
        in
        pkgs;
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] packages;
    };
}
