# `services.kennel`: Kennel on NixOS.
#
# Units, users, directories and polkit rules are the package's own files. Here is what NixOS wants to
# be told about them, and the operator's files under /etc/kennel. docs/nixos.md is the guide.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.kennel;
  settings = import ./settings.nix { inherit lib; };
  inherit (lib)
    concatMapAttrs
    mkDefault
    mkIf
    mkOption
    types
    ;

  # `name` is the file's: Kennel takes a project's name from it.
  checked =
    kind: name: text:
    pkgs.runCommand name
      {
        inherit text;
        passAsFile = [ "text" ];
      }
      ''
        mkdir checked
        cp "$textPath" checked/${name}
        ${lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform)
          "${cfg.package}/bin/kennelctl check --as ${kind} checked/${name}"
        }
        cp checked/${name} "$out"
      '';

  secrets =
    name: project:
    lib.mapAttrs' (secret: lib.nameValuePair "${name}/${secret}") project.secretFiles
    // lib.mapAttrs' (secret: lib.nameValuePair "${name}/production/${secret}") project.productionSecretFiles
    // lib.mapAttrs' (secret: lib.nameValuePair "${name}/preview/${secret}") project.previewSecretFiles;
  allSecrets = concatMapAttrs secrets cfg.projects;

  webhookSecrets = lib.mapAttrs (_: project: project.webhookSecretFile) (
    lib.filterAttrs (_: project: project.webhookSecretFile != null) cfg.projects
  );

  secretFiles =
    what:
    mkOption {
      type = types.attrsOf settings.path;
      default = { };
      example = {
        JWT_SECRET = "/run/agenix/shop-jwt";
      };
      description = ''
        Files with the project's secrets for ${what}, by the names that `kennel.toml` has for them.
        Each must belong to root. Only its path is in the store.
      '';
    };

  # sysusers.d/kennel.conf, whose words hold no blanks but in a user's description.
  accounts = map (lib.splitString " ") (
    builtins.filter (line: line != "" && !(lib.hasPrefix "#" line)) (
      lib.splitString "\n" (builtins.readFile ../sysusers.d/kennel.conf)
    )
  );
  second = words: builtins.elemAt words 1;
  ofKind = kind: builtins.filter (words: builtins.head words == kind) accounts;
  users = map second (ofKind "u");
  groups = users ++ map second (ofKind "g");
  groupsOf =
    user: map (words: builtins.elemAt words 2) (builtins.filter (words: second words == user) (ofKind "m"));

  # Jobs end by themselves, and a switch must not end them.
  job = {
    restartIfChanged = false;
  };
  # Their sockets stay open meanwhile: nobody is refused.
  resident = {
    stopIfChanged = false;
  };
  builder = job // {
    path = [
      config.nix.package
      pkgs.git
      pkgs.openssh
    ];
  };
  deployer = job // {
    after = lib.optional cfg.valkey.enable "redis-kennel.service";
  };

  inStore = path: lib.hasPrefix "${builtins.storeDir}/" path;
  isName = builtins.match "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?";
  isSecret = builtins.match "[A-Z_][A-Z0-9_]*";
  refuse = isWrong: message: {
    assertion = !isWrong;
    inherit message;
  };
in
{
  options.services.kennel = {
    enable = lib.mkEnableOption "Kennel, which deploys what is pushed to git";

    package = mkOption {
      type = types.package;
      default = pkgs.kennel;
      defaultText = lib.literalExpression "pkgs.kennel";
      description = "The package with Kennel's programs and units.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Whether the firewall lets visitors and webhooks in, on ports 80 and 443.";
    };

    settings = mkOption {
      type = types.submodule { options = settings.host; };
      default = { };
      description = "What `/etc/kennel/config.toml` says.";
    };

    projects = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            settings = mkOption {
              type = types.submodule { options = settings.project; };
              default = { };
              description = "What the project's file in `/etc/kennel/projects.d` says.";
            };
            webhookSecretFile = mkOption {
              type = types.nullOr settings.path;
              default = null;
              example = "/run/agenix/shop-webhook";
              description = ''
                The file with the webhook's secret. systemd hands it to the receiver; only its path
                is in the store. Without it, the secret is what an operator puts into
                `/etc/kennel/webhook-secrets`.
              '';
            };
            secretFiles = secretFiles "production and previews";
            productionSecretFiles = secretFiles "production alone";
            previewSecretFiles = secretFiles "previews alone";
          };
        }
      );
      default = { };
      description = "The projects that are deployed, by name.";
    };

    valkey.enable = mkOption {
      type = types.bool;
      default = false;
      description = "Whether this host has a Valkey server for preview databases.";
    };

    postgresql.enable = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether this host's PostgreSQL server has preview databases: a role for Kennel, which may
        make roles and databases, and a way in for those of branches.
      '';
    };
  };

  config = mkIf cfg.enable {
    services.kennel.settings = {
      unit_dir = mkDefault "/run/systemd/system";
      valkey.url = mkIf cfg.valkey.enable (mkDefault "redis://127.0.0.1:6379");
      postgresql.url = mkIf cfg.postgresql.enable (mkDefault "postgresql:///postgres?host=/run/postgresql");
    };

    environment.etc = {
      "kennel/config.toml".source = checked "host" "config.toml" (settings.toTOML cfg.settings);
    }
    // lib.mapAttrs' (
      name: project:
      lib.nameValuePair "kennel/projects.d/${name}.toml" {
        source = checked "project" "${name}.toml" (settings.toTOML project.settings);
      }
    ) cfg.projects
    // lib.mapAttrs' (name: source: lib.nameValuePair "kennel/secrets/${name}" { inherit source; }) allSecrets
    # For `kennelctl check`; the receiver's come below, since systemd follows no links in a directory.
    // lib.mapAttrs' (
      name: source: lib.nameValuePair "kennel/webhook-secrets/${name}" { inherit source; }
    ) webhookSecrets;

    # With kennelctl and the manual come the polkit rules: NixOS links them where polkit looks.
    environment.systemPackages = [ cfg.package ];
    security.polkit.enable = true;

    users.users = lib.genAttrs users (user: {
      isSystemUser = true;
      group = user;
      extraGroups = groupsOf user;
    });
    users.groups = lib.genAttrs groups (_: { });

    systemd.packages = [ cfg.package ];
    systemd.tmpfiles.packages = [ cfg.package ];
    # NixOS does not read [Install].
    systemd.targets.kennel.wantedBy = [ "multi-user.target" ];

    systemd.services = {
      "kennel-build@" = builder;
      kennel-poll = builder;
      kennel-tidy = job;
      "kennel-deploy@" = deployer;
      "kennel-teardown@" = deployer;
      kennel-restore = deployer;
      kennel-routes = deployer;
      kennel-acme = job;
      kennel-sleep = deployer;
      kennel-sweep = job;
      kennel-webhook-secrets = job;
      kennel-api = resident;
      kennel-dispatch = resident;
      kennel-router = resident;
      kennel-router-relief = job;
      kennel-webhook = resident // {
        serviceConfig.LoadCredential = lib.mapAttrsToList (
          name: file: "webhook_${name}:${file}"
        ) webhookSecrets;
      };

      # Files in /etc are links that stay the same when what they lead to changes: path units see
      # nothing of it.
      kennel-switched = {
        description = "Kennel: look at the configuration that the host was switched to";
        wantedBy = [ "kennel.target" ];
        partOf = [ "kennel.target" ];
        after = [ "kennel-restore.service" ];
        reloadTriggers = map (file: file.source) (
          builtins.attrValues (
            lib.filterAttrs (name: _: lib.hasPrefix "kennel/" name && lib.hasSuffix ".toml" name) config.environment.etc
          )
        );
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${pkgs.coreutils}/bin/true";
          ExecReload = "${config.systemd.package}/bin/systemctl start --no-block kennel-restore.service kennel-dispatch.service kennel-acme.service";
        };
      };
    };

    # A changed secret reaches a receiver that is just running, too.
    systemd.paths.kennel-webhook-secrets.pathConfig.PathChanged = builtins.attrValues webhookSecrets;

    networking.firewall.allowedTCPPorts = mkIf cfg.openFirewall [
      80
      443
    ];

    # What one build may use beyond that is in `settings.nix`, and what all of them may together in
    # the drop-in of nix-daemon.service that comes with the package.
    nix.settings.sandbox = mkDefault true;
    nix.settings.sandbox-fallback = mkDefault false;
    # 5 GiB, as `kennelctl doctor` wants it: each push adds to the store.
    nix.settings.min-free = mkDefault 5368709120;

    services.redis = mkIf cfg.valkey.enable {
      package = mkDefault pkgs.valkey;
      servers.kennel = {
        enable = true;
        port = mkDefault 6379;
        databases = if cfg.settings.valkey.databases == null then 16 else cfg.settings.valkey.databases;
      };
    };

    services.postgresql = mkIf cfg.postgresql.enable {
      enable = true;
      ensureUsers = [
        {
          name = "root";
          ensureClauses = {
            login = true;
            createdb = true;
            createrole = true;
          };
        }
      ];
      # The first line that matches decides.
      authentication = lib.mkBefore "local sameuser /^kennel_ scram-sha-256";
    };

    assertions = [
      (refuse (cfg.settings.unit_dir == "/etc/systemd/system") ''
        services.kennel.settings.unit_dir is /etc/systemd/system, which cannot be written on NixOS.
        Leave the option out: deployments' units then lie in /run/systemd/system.
      '')
      (refuse (!config.nix.enable) ''
        services.kennel builds with Nix, and nix.enable is false. Set nix.enable = true.
      '')
      (refuse (lib.versionOlder config.systemd.package.version "256") ''
        services.kennel needs systemd 256 or newer for sealed secrets, and this host has
        ${config.systemd.package.version}. Use a newer nixpkgs.
      '')
      (refuse
        (
          let
            allowed = config.nix.settings.allowed-users or [ "*" ];
          in
          !(builtins.elem "*" allowed || builtins.elem "kennel-build" allowed)
        )
        ''
          The Nix daemon does not answer builds: add "kennel-build" to nix.settings.allowed-users.
        ''
      )
      (refuse (config.system.etc.overlay.enable && !config.system.etc.overlay.mutable) ''
        kennelctl writes tokens and secrets below /etc/kennel, and /etc cannot be written on this host.
        Set system.etc.overlay.mutable = true.
      '')
      (refuse
        (cfg.postgresql.enable && lib.versionOlder config.services.postgresql.package.version "16")
        ''
          services.kennel.postgresql needs PostgreSQL 16 or newer for patterns of roles. Set
          services.postgresql.package, for example to pkgs.postgresql_17.
        ''
      )
    ]
    ++ lib.mapAttrsToList (
      name: _:
      refuse (isName name == null) ''
        services.kennel.projects."${name}" is no name for a project: use a-z, 0-9 and `-`, at most 32.
      ''
    ) cfg.projects
    ++ lib.mapAttrsToList (
      name: _:
      refuse (isSecret (lib.last (lib.splitString "/" name)) == null) ''
        The secret "${name}" of services.kennel.projects has no name for a secret: use A-Z, 0-9 and `_`.
      ''
    ) allSecrets
    ++ lib.mapAttrsToList (
      name: path:
      refuse (inStore path) ''
        The secret "${name}" of services.kennel.projects is ${path}, which everybody on this host can
        read. Have agenix or sops-nix put it below /run, and name that path as a string.
      ''
    ) (allSecrets // lib.mapAttrs' (name: lib.nameValuePair "${name}/webhook") webhookSecrets);

    warnings =
      let
        firewall = config.networking.firewall;
        closed = firewall.enable && !(builtins.elem 80 firewall.allowedTCPPorts);
      in
      lib.optional closed ''
        The firewall lets neither visitors nor webhooks to Kennel: set services.kennel.openFirewall =
        true, or open port 80 (and 443) where they come from.
      '';
  };
}
