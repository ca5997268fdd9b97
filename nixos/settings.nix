# Options out of settings.toml, and files out of options: every key of Kennel's is one option of the
# same name, and what is not set is not written.
{ lib }:
let
  keys = builtins.fromTOML (builtins.readFile ./settings.toml);

  matching = what: pattern: lib.types.strMatching pattern // { description = what; };
  period = "([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?";

  # Store paths are readable for everybody on the host, and a path literal would be copied there.
  path = matching "absolute path outside of the Nix store, as a string" "/.*";

  types = {
    inherit path;
    inherit (lib.types) bool;
    access_log = lib.types.enum [
      "off"
      "errors"
      "sampled"
      "all"
    ];
    body = matching "size such as 10M, or unlimited" "unlimited|[0-9]+[KMGT]?";
    count = key: lib.types.ints.between key.from key.to;
    cpu = matching "per cent of one processor, such as 200%" "[0-9]+%";
    domain = matching "host name in lower case" "[a-z0-9.-]+";
    forge = lib.types.enum [
      "forgejo"
      "gitea"
      "github"
    ];
    lifetime = matching "length of time such as 7d or 1h30m, or never" "never|${period}";
    lifetimes = lib.types.attrsOf types.lifetime;
    memory = matching "size such as 512M or 2G" "[0-9]+[KMGT]?";
    period = matching "length of time such as 45s, 20m or 1h30m" period;
    ports = lib.types.listOf lib.types.port;
    pull_requests = lib.types.enum [
      "trusted"
      "all"
      "none"
    ];
    text = lib.types.str;
    texts = lib.types.listOf lib.types.str;
  };

  typeOf =
    key:
    let
      type = types.${key.type};
    in
    if builtins.isFunction type then type key else type;

  option =
    key:
    lib.mkOption (
      {
        type = if key.required or false then typeOf key else lib.types.nullOr (typeOf key);
        description = key.about;
        inherit (key) example;
      }
      // lib.optionalAttrs (!(key.required or false)) { default = null; }
    );

  # `tls.key` is an option in the submodule of its table, and `acme.dns.server` in one of that.
  options = list: within (map (key: key // { parts = lib.splitString "." key.key; }) list);
  within =
    list:
    builtins.mapAttrs (
      name: members:
      let
        inner = builtins.filter (key: key.parts != [ ]) (
          map (key: key // { parts = builtins.tail key.parts; }) members
        );
      in
      if inner == [ ] then
        option (builtins.head members)
      else
        lib.mkOption {
          type = lib.types.submodule { options = within inner; };
          default = { };
          description = "The table `${name}`.";
        }
    ) (builtins.groupBy (key: builtins.head key.parts) list);

  # JSON's strings, numbers, truths and lists of them are TOML's too. Not pkgs.formats.toml: that is
  # a build, and this is text when the configuration is evaluated.
  line = name: value: "${name} = ${builtins.toJSON value}\n";
  lines = values: lib.concatStrings (lib.mapAttrsToList line values);
  # Patterns of branches are keys, too.
  quoted = lib.mapAttrs' (
    name:
    lib.nameValuePair (
      if builtins.match "[a-z_]+" name == null then builtins.toJSON name else name
    )
  );
in
{
  inherit path;
  host = options keys.host;
  project = options keys.project;

  toTOML =
    let
      table =
        path: settings:
        let
          set = lib.filterAttrs (_: value: value != null) settings;
          plain = lib.filterAttrs (_: value: !builtins.isAttrs value) set;
          tables = lib.filterAttrs (_: builtins.isAttrs) set;
          header = lib.optionalString (path != "") "\n[${path}]\n";
          below = name: table (if path == "" then name else "${path}.${name}");
        in
        lib.optionalString (plain != { }) (header + lines (quoted plain))
        + lib.concatStrings (lib.mapAttrsToList below tables);
    in
    table "";
}
