/** Which format a volume is in: what was said when it was made, else what its name says. */
import type { ImageLook } from '../../host/index.ts'
import type { VolumeFormat } from '../../model/index.ts'

const endings: Readonly<Record<string, VolumeFormat>> = {
  raw: 'raw',
  iso: 'iso',
  qcow2: 'qcow2',
  qcow: 'qcow',
  qed: 'qed',
  vmdk: 'vmdk',
  vdi: 'vdi',
  vpc: 'vpc',
  vhd: 'vpc',
  vhdx: 'vhdx',
  luks: 'luks',
}

/** What the ending of a name says. */
export const formatOfName = (name: string): VolumeFormat | undefined =>
  endings[/\.(?<ending>[a-z0-9]+)$/iu.exec(name)?.groups?.ending?.toLowerCase() ?? '']

/** Formats that a volume can be made in. */
export const newFormats = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'qed'] as const

export interface FormatVerdict {
  readonly format: VolumeFormat
  /** Nobody said so: it only looks like it. Whoever could write it could have made it look so. */
  readonly isGuess?: true
  readonly message?: string
}

/** `said` when it was made here, else by its name, else by its look. */
export function judgeFormat(
  name: string,
  said: VolumeFormat | undefined,
  look: ImageLook | undefined,
): FormatVerdict {
  const format = said ?? formatOfName(name)
  if (format === undefined) return look ? { format: look.format, isGuess: true } : { format: 'raw' }
  const headed = format !== 'raw' && format !== 'iso'
  if (headed && look?.format !== format)
    return {
      format,
      message: look
        ? `Its format should be ${format}, but it looks like ${look.format}.`
        : `Its format should be ${format}, but it does not look like it.`,
    }
  return { format }
}
