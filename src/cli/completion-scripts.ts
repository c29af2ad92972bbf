/**
 * What the shells are given. All three ask `visor complete -- WORDS`, which answers one suggestion a line,
 * its description after a tab; the line `:files` asks for file names as well.
 */
const bash = `# Completion of visor for bash. Made by: visor completion bash
_visor() {
  local cur=\${COMP_WORDS[COMP_CWORD]} words=() word line prefix=
  # bash takes qemu:///system and --name=value apart; put them together again.
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if ((\${#words[@]})) && [[ $word == [:=]* || \${words[-1]} == *[:=] ]]; then words[-1]+=$word
    else words+=("$word"); fi
  done
  if ((\${#words[@]})) && [[ \${words[-1]} != "$cur" ]]; then prefix=\${words[-1]%"$cur"}; fi
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
    else
      word=\${line%%$'\\t'*}
      [[ -n $prefix && $word == "$prefix"* ]] && word=\${word#"$prefix"}
      printf -v word '%q' "$word"
      COMPREPLY+=("$word")
    fi
  done < <("\${COMP_WORDS[0]}" complete -- "\${words[@]}" 2>/dev/null)
}
complete -F _visor visor
`

const zsh = `#compdef visor
# Completion of visor for zsh. Made by: visor completion zsh
_visor() {
  local -a lines values
  local line doc files=
  lines=("\${(@f)$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in "\${lines[@]}"; do
    if [[ $line == :files ]]; then files=1
    elif [[ -n $line ]]; then
      doc=\${line#*$'\\t'}
      values+=("\${\${line%%$'\\t'*}//:/\\\\:}\${doc:+:$doc}")
    fi
  done
  (( \${#values} )) && _describe visor values
  [[ -n $files ]] && _files
  return 0
}
if [[ \${funcstack[1]} == _visor ]]; then _visor "$@"; else compdef _visor visor; fi
`

const fish = `# Completion of visor for fish. Made by: visor completion fish
function __visor_complete
    set -l words (commandline -opc)
    set -l lines ($words[1] complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
    string match -v -- ':files' $lines
    if contains -- ':files' $lines
        __fish_complete_path (commandline -ct)
    end
end
complete -c visor -f -a '(__visor_complete)'
`

export const completionScripts = { bash, zsh, fish } as const
