# Completion of visor for fish. Made by: visor completion fish
function __visor_complete
    set -l words (commandline -opc)
    set -l lines ($words[1] complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
    string match -v -- ':files' $lines
    if contains -- ':files' $lines
        __fish_complete_path (commandline -ct)
    end
end
complete -c visor -f -a '(__visor_complete)'
