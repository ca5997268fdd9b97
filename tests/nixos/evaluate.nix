# The module, evaluated on a host that has of NixOS only the options that the module sets. Prints what
# it makes of them. `lib` is nixpkgs' own, or the stand-in beside this file.
{
  lib ? import ./lib.nix,
  package ? "/nix/store/00000000000000000000000000000000-kennel",
  configuration ? { },
}:
let
  anything = lib.mkOption { type = lib.types.anything; };
  free = default: lib.mkOption {
    type = lib.types.anything;
    inherit default;
  };
  list = lib.mkOption {
    type = lib.types.listOf lib.types.anything;
    default = [ ];
  };
  # As users.users and systemd.services have them, so that two definitions of one name are merged.
  named = lib.mkOption {
    type = lib.types.attrsOf lib.types.anything;
    default = { };
  };
  nixos = {
    options = {
      assertions = list;
      warnings = list;
      environment.etc = named;
      environment.systemPackages = list;
      networking.firewall = {
        enable = free true;
        allowedTCPPorts = list;
      };
      nix.enable = free true;
      nix.package = free "/nix/store/00000000000000000000000000000000-nix";
      nix.settings = named;
      security.polkit.enable = free false;
      services.postgresql = {
        enable = free false;
        package = free { version = "17.6"; };
        ensureUsers = list;
        authentication = lib.mkOption {
          type = lib.types.lines;
          default = "";
        };
      };
      services.redis = {
        package = anything;
        servers = named;
      };
      system.etc.overlay.enable = free false;
      system.etc.overlay.mutable = free true;
      systemd.package = free {
        version = "257.9";
        outPath = "/nix/store/00000000000000000000000000000000-systemd";
      };
      systemd.packages = list;
      systemd.paths = named;
      systemd.services = named;
      systemd.targets = named;
      systemd.tmpfiles.packages = list;
      users.users = named;
      users.groups = named;
    };
  };
  pkgs = {
    coreutils = "/nix/store/00000000000000000000000000000000-coreutils";
    git = "/nix/store/00000000000000000000000000000000-git";
    openssh = "/nix/store/00000000000000000000000000000000-openssh";
    valkey = "/nix/store/00000000000000000000000000000000-valkey";
    kennel = {
      type = "derivation";
      outPath = package;
    };
    stdenv.buildPlatform.canExecute = _: true;
    stdenv.hostPlatform = { };
    # The text itself stands for the file that it is made into.
    runCommand = _: attributes: script: builtins.seq script attributes.text;
  };
  host = lib.evalModules {
    modules = [
      nixos
      ../../nixos/module.nix
      { config._module.args.pkgs = pkgs; }
      configuration
    ];
  };
  inherit (host) config;
in
{
  inherit (config) warnings users;
  inherit (config.environment) etc;
  inherit (config.networking) firewall;
  inherit (config.systemd) services targets paths;
  refused = map (it: it.message) (builtins.filter (it: !it.assertion) config.assertions);
  packages = map toString (
    config.systemd.packages ++ config.systemd.tmpfiles.packages ++ config.environment.systemPackages
  );
  nix = config.nix.settings;
  redis = config.services.redis.servers;
  postgresql = { inherit (config.services.postgresql) ensureUsers authentication; };
}
