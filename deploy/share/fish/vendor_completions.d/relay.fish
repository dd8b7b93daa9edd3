# fish completion of relay: asks relay itself, so that it fits its version and relay.yaml.

complete --command relay --no-files \
    --arguments '(env _RELAY_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS=(commandline -cp) relay 2>/dev/null)' \
    --condition 'env _RELAY_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=is-args _TYPER_COMPLETE_ARGS=(commandline -cp) relay 2>/dev/null'
