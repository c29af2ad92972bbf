/** Encrypted images as qemu-img(1) is told of them. The key is in a file: what is on a command line everybody reads. */
import { VisorError, type VolumeDefinition, type VolumeFormat } from '../../model/index.ts'

/** An image that is opened. */
export interface OpenedImage {
  readonly path: string
  readonly format: VolumeFormat
  /** File with the passphrase of an encrypted one. */
  readonly keyFile?: string | undefined
}

/** A comma in a value is doubled. */
export const doubled = (text: string) => text.replaceAll(',', ',,')

/** QEMU's name of a format. */
export const qemuFormat = (format: VolumeFormat): string => (format === 'iso' ? 'raw' : format)

/** The key as an object; `id` tells two of them apart. */
export const keyObject = (keyFile: string | undefined, id = 'key'): string[] =>
  keyFile === undefined ? [] : ['--object', `secret,id=${id},file=${doubled(keyFile)}`]

/** How the image is named, and the flags that say how to read that. */
export function nameImage({ path, format, keyFile }: OpenedImage): {
  readonly flags: readonly string[]
  readonly name: string
} {
  return keyFile === undefined
    ? { flags: ['-f', qemuFormat(format)], name: path }
    : { flags: [...keyObject(keyFile), '--image-opts'], name: encryptedImage(path, format) }
}

/** How an image is opened that is there and encrypted. */
export function encryptedImage(path: string, format: VolumeFormat, id = 'key'): string {
  const how =
    format === 'luks'
      ? `driver=luks,key-secret=${id}`
      : `driver=${format},encrypt.format=luks,encrypt.key-secret=${id}`
  return `${how},file.driver=file,file.filename=${doubled(path)}`
}

/** The format of a volume that shall be of `format` and encrypted. Fails with `unsupported-config`. */
export function encryptedFormat(format: VolumeFormat): 'qcow2' | 'luks' {
  if (format === 'qcow2') return 'qcow2'
  if (format === 'raw' || format === 'luks') return 'luks'
  throw new VisorError('unsupported-config', `A volume of the format '${format}' cannot be encrypted.`, {
    path: 'format',
    remedy: 'Formats that can be: qcow2, raw (which LUKS then is).',
  })
}

/** The options that an encrypted image is made with. Source: qemu-img(1), -o of luks and qcow2. */
export function encryptionOptions(
  format: VolumeFormat,
  { cipher, initialVector }: NonNullable<VolumeDefinition['encryption']>,
): string[] {
  const prefix = format === 'luks' ? '' : 'encrypt.'
  const listed = {
    ...(format === 'luks' ? {} : { format: 'luks' }),
    'key-secret': 'key',
    'cipher-alg': cipher && (/\d$/u.test(cipher.name) ? cipher.name : `${cipher.name}-${cipher.sizeBits}`),
    'cipher-mode': cipher?.mode,
    'hash-alg': cipher?.hash,
    'ivgen-alg': initialVector?.name,
    'ivgen-hash-alg': initialVector?.hash,
  }
  return Object.entries(listed).flatMap(([name, value]) =>
    value === undefined ? [] : [`${prefix}${name}=${value}`],
  )
}

/** Only LUKS is had; what libvirt calls 'default' means it too. */
export function checkEncryption({ format, engine }: NonNullable<VolumeDefinition['encryption']>): void {
  if (format !== 'luks' && format !== 'default')
    throw new VisorError('unsupported-config', `The encryption '${format}' cannot be had.`, {
      path: 'encryption.format',
      remedy: "Use 'luks'.",
    })
  if (engine === 'librbd')
    throw new VisorError('unsupported-config', "The encryption is done by QEMU, not by 'librbd'.", {
      path: 'encryption.engine',
    })
}
