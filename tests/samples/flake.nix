# The flake of a sample repository: no inputs, so that it builds offline.
#
# Every folder of services/ and sites/ is one package, those of elsewhere/ for one system alone. The
# builder is a static busybox in the repository itself; it stays in a folder so that its store path
# still ends in `busybox`, which is how it knows what to be. The sandbox has nothing but /bin/sh, and none of it is used.
{
  outputs = { self }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      folders = dir:
        if builtins.pathExists dir
        then builtins.attrNames (builtins.readDir dir)
        else [ ];
      # Each output depends on its own folder alone: a push that leaves it unchanged builds nothing.
      run = system: name: script: derivation {
        inherit name system;
        builder = "${./tools}/busybox";
        args = [ "sh" "-euc" script ];
        bb = "${./tools}/busybox";
      };
      # A folder that holds a `recipe.nix` says itself how it is built, or fails in its own way.
      recipe = folder: script:
        if builtins.pathExists (folder + "/recipe.nix")
        then import (folder + "/recipe.nix") { program = ./program; }
        else script;
      service = system: name: run system name (recipe (./services + "/${name}") ''
        $bb mkdir -p $out/bin $out/share
        $bb cp ${./program}/service $out/bin/${name}
        $bb cp ${./services + "/${name}"}/service.conf $out/share/service.conf
      '');
      site = system: name: run system name (recipe (./sites + "/${name}") ''
        $bb cp -r ${./sites + "/${name}"} $out
      '');
      elsewhere = system: name: run system name ''
        $bb cp -r ${./elsewhere + "/${name}"} $out
      '';
      each = system: make: dir: map
        (name: { inherit name; value = make system name; })
        (folders dir);
    in
    {
      packages = builtins.listToAttrs (map
        (system: {
          name = system;
          value = builtins.listToAttrs
            (each system service ./services ++ each system site ./sites
              ++ (if system == "aarch64-linux" then each system elsewhere ./elsewhere else [ ]));
        })
        systems);
    };
}
