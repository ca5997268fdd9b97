# As much of nixpkgs' library as nixos/ uses: enough to evaluate the module where nixpkgs cannot be
# had. Definitions are merged and types are checked as there; messages are shorter.
let
  inherit (builtins)
    all
    attrNames
    concatLists
    concatMap
    elem
    filter
    foldl'
    hasAttr
    head
    isAttrs
    isList
    length
    mapAttrs
    match
    stringLength
    substring
    ;

  # mkIf, mkDefault and mkBefore are wrappers that evalModules takes off.
  wrapped = kind: value: isAttrs value && value._type or null == kind;
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkOption = option: option // { _type = "option"; };

  # A condition goes down to the leaves: what is asked about may be defined beside it.
  pushed =
    definition:
    if wrapped "if" definition then
      mapAttrs (_: mkIf definition.condition) (pushed definition.content)
    else
      definition;
  # Definitions that hold, without their conditions.
  holding = concatMap (
    definition:
    if wrapped "if" definition then
      (if definition.condition then holding [ definition.content ] else [ ])
    else
      [ definition ]
  );
  # Of those the strongest, first ones first.
  strongest =
    definitions:
    let
      own = filter (it: !wrapped "default" it) definitions;
      chosen = if own == [ ] then definitions else own;
      first = filter (wrapped "before") chosen;
      rest = filter (it: !wrapped "before" it) chosen;
    in
    map (it: if wrapped "default" it || wrapped "before" it then it.content else it) (first ++ rest);
  settled = definitions: strongest (holding definitions);

  one =
    what: check: at: definitions:
    let
      value = head definitions;
    in
    if !all (it: it == value) definitions then
      throw "${at} has conflicting definitions"
    else if check value then
      value
    else
      throw "${at} is not of type ${what}";
  type = what: check: {
    merge = one what check;
    description = what;
  };

  attrsOf = element: {
    merge =
      at: definitions:
      let
        sets = map pushed definitions;
        names = attrNames (foldl' (a: b: a // b) { } sets);
        under = name: settled (concatMap (set: if hasAttr name set then [ set.${name} ] else [ ]) sets);
      in
      foldl' (
        merged: name:
        if under name == [ ] then
          merged
        else
          merged // { ${name} = element.merge "${at}.${name}" (under name); }
      ) { } names;
  };

  types = {
    anything = {
      merge =
        at: definitions:
        if all (it: isAttrs it && !(it ? outPath)) definitions then
          (attrsOf types.anything).merge at definitions
        else if all isList definitions then
          concatLists definitions
        else
          one "anything" (_: true) at definitions;
    };
    inherit attrsOf;
    bool = type "truth" builtins.isBool;
    enum = values: type "one of ${builtins.toJSON values}" (value: elem value values);
    ints.between = low: high: type "whole number" (it: builtins.isInt it && it >= low && it <= high);
    lines = {
      merge = _: builtins.concatStringsSep "\n";
    };
    listOf = element: {
      merge = at: definitions: map (it: element.merge at [ it ]) (concatLists definitions);
    };
    nullOr = element: {
      merge =
        at: definitions:
        if all (it: it == null) definitions then null else element.merge at definitions;
    };
    package = type "package" (it: it ? outPath);
    port = types.ints.between 0 65535;
    str = type "text" builtins.isString;
    strMatching = pattern: type pattern (it: builtins.isString it && match pattern it != null);
    submodule = module: {
      merge = at: definitions: tree at module.options (map pushed definitions);
    };
  };

  leaf =
    at: option: definitions:
    let
      held = settled definitions;
    in
    if held != [ ] then
      option.type.merge at held
    else if option ? default then
      # Merged too: a submodule's options have defaults of their own.
      option.type.merge at [ option.default ]
    else
      throw "${at} is used and not defined";

  tree =
    at: options: definitions:
    let
      unknown = filter (name: !hasAttr name options) (concatMap attrNames definitions);
      under = name: concatMap (it: if hasAttr name it then [ it.${name} ] else [ ]) definitions;
      each =
        name: option:
        let
          below = if at == "" then name else "${at}.${name}";
        in
        if wrapped "option" option then
          leaf below option (under name)
        else
          tree below option (map pushed (under name));
    in
    if unknown == [ ] then
      mapAttrs each options
    else
      throw "there is no option ${at}.${head unknown}";

  joined =
    a: b:
    if isAttrs a && isAttrs b && !wrapped "option" a then
      a // mapAttrs (name: value: if hasAttr name a then joined a.${name} value else value) b
    else
      b;

  evalModules =
    { modules }:
    let
      loaded = map (
        module:
        let
          content = if builtins.isPath module then import module else module;
          made = if builtins.isFunction content then content { inherit config lib pkgs; } else content;
        in
        if made ? options || made ? config then
          { options = made.options or { }; config = made.config or { }; }
        else
          { options = { }; config = made; }
      ) modules;
      options = foldl' joined { } (map (it: it.options) loaded);
      definitions = map (it: pushed it.config) loaded;
      inherit ((head (filter (it: it ? _module) definitions))._module.args) pkgs;
      # What is imported is among the modules already.
      own = map (it: removeAttrs it [ "_module" "imports" ]) definitions;
      config = tree "" options own;
    in
    {
      inherit config options;
    };

  lib = rec {
    inherit
      evalModules
      mkIf
      mkOption
      types
      ;
    inherit (builtins) concatMap;
    mkBefore = content: {
      _type = "before";
      inherit content;
    };
    mkDefault = content: {
      _type = "default";
      inherit content;
    };
    mkEnableOption =
      what:
      mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    literalExpression = text: text;

    concatMapAttrs = make: set: foldl' (a: b: a // b) { } (mapAttrsToList make set);
    concatStrings = builtins.concatStringsSep "";
    filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    genAttrs = names: make: builtins.listToAttrs (map (name: nameValuePair name (make name)) names);
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasSuffix =
      suffix: text:
      let
        rest = stringLength text - stringLength suffix;
      in
      rest >= 0 && substring rest (stringLength text) text == suffix;
    last = list: builtins.elemAt list (length list - 1);
    mapAttrs = builtins.mapAttrs;
    mapAttrs' = make: set: builtins.listToAttrs (mapAttrsToList make set);
    mapAttrsToList = make: set: map (name: make name set.${name}) (attrNames set);
    nameValuePair = name: value: { inherit name value; };
    optional = condition: value: if condition then [ value ] else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    # The separators of nixos/ are plain characters, but for the dot.
    splitString =
      separator: text:
      filter builtins.isString (builtins.split (if separator == "." then "\\." else separator) text);
    versionOlder = a: b: builtins.compareVersions a b < 0;
  };
in
lib
