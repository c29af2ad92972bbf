/** What flags say about secrets: of new disks, and of pools on servers. */

const uuidShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu

/** A secret by what a person calls it: its uuid, or what it is for. */
export const nameSecret = (secret: string): { uuid: string } | { usage: string } =>
  uuidShape.test(secret) ? { uuid: secret } : { usage: secret }

/** LUKS with the secret of this uuid or name, or, for `true`, with one that is made for it; nothing without. */
export function encryption(secret: string | true | undefined) {
  if (secret === undefined) return {}
  const secrets = secret === true ? [] : [{ type: 'passphrase' as const, ...nameSecret(secret) }]
  return { encryption: { format: 'luks' as const, secrets } }
}
