# Completion of visor for bash. Made by: visor completion bash
_visor() {
  local cur=${COMP_WORDS[COMP_CWORD]} words=() word line prefix=
  # bash takes qemu:///system and --name=value apart; put them together again.
  for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if ((${#words[@]})) && [[ $word == [:=]* || ${words[-1]} == *[:=] ]]; then words[-1]+=$word
    else words+=("$word"); fi
  done
  if ((${#words[@]})) && [[ ${words[-1]} != "$cur" ]]; then prefix=${words[-1]%"$cur"}; fi
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
    else
      word=${line%%$'\t'*}
      [[ -n $prefix && $word == "$prefix"* ]] && word=${word#"$prefix"}
      printf -v word '%q' "$word"
      COMPREPLY+=("$word")
    fi
  done < <("${COMP_WORDS[0]}" complete -- "${words[@]}" 2>/dev/null)
}
complete -F _visor visor
