/** `--diskspec` and `--memspec` of virsh, as parts of a snapshot. Source: virsh(1), snapshot-create-as. */
import { type SnapshotDefinition, VisorError } from '../model/index.ts'

/** `vda,snapshot=external,file=/a,,b` gives the words and values; a comma is doubled within a value. */
function parseWords(text: string): Map<string, string> {
  const words = new Map<string, string>()
  for (const [index, part] of text.split(/(?<!,),(?!,)/u).entries()) {
    const [key = '', ...rest] = part.replaceAll(',,', ',').split('=')
    if (index === 0 && rest.length === 0) words.set('', key)
    else words.set(key, rest.join('='))
  }
  return words
}

type DiskDefinition = SnapshotDefinition['disks'][number]

/** `DISK[,snapshot=TYPE][,driver=FORMAT][,stype=KIND][,file=PATH]`. Fails with `invalid-argument`. */
export function parseDiskSpec(text: string): DiskDefinition {
  const words = parseWords(text)
  const name = words.get('')
  const snapshot = words.get('snapshot')
  const type = words.get('stype')
  refuseOthers(text, words, ['', 'snapshot', 'driver', 'stype', 'file'])
  if (!name) throw malformed(text, 'it names no disk first')
  if (snapshot !== undefined && !isOneOf(snapshot, ['no', 'internal', 'external', 'manual']))
    throw malformed(text, `'${snapshot}' is no place for a snapshot`)
  if (type !== undefined && !isOneOf(type, ['file', 'block']))
    throw malformed(text, `'${type}' is no kind of overlay`)
  const [format, file] = [words.get('driver'), words.get('file')]
  return {
    name,
    ...(snapshot !== undefined && { snapshot }),
    ...(type !== undefined && { type }),
    ...(format !== undefined && { format }),
    ...(file !== undefined && (type === 'block' ? { block: file } : { file })),
  }
}

/** `[file=]PATH[,snapshot=TYPE]`. Fails with `invalid-argument`. */
export function parseMemSpec(text: string): Pick<SnapshotDefinition, 'memory' | 'memoryFile'> {
  const words = parseWords(text)
  refuseOthers(text, words, ['', 'snapshot', 'file'])
  const file = words.get('file') ?? words.get('')
  const memory = words.get('snapshot') ?? (file === undefined ? undefined : 'external')
  if (memory !== undefined && !isOneOf(memory, ['no', 'internal', 'external']))
    throw malformed(text, `'${memory}' is no place for memory`)
  return { ...(memory !== undefined && { memory }), ...(file !== undefined && { memoryFile: file }) }
}

const isOneOf = <const T extends string>(word: string, words: readonly T[]): word is T =>
  (words as readonly string[]).includes(word)

function refuseOthers(text: string, words: ReadonlyMap<string, string>, known: readonly string[]): void {
  const other = [...words.keys()].find((word) => !known.includes(word))
  if (other !== undefined) throw malformed(text, `'${other}' is no part of it`)
}

function malformed(text: string, why: string): VisorError {
  return new VisorError('invalid-argument', `'${text.slice(0, 200)}' cannot be understood: ${why}.`, {
    remedy: 'Write vda,snapshot=external,file=/path for a disk, file=/path,snapshot=external for memory.',
  })
}
