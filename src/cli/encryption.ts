/** What flags say about the encryption of new disks. */

const uuidShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu

/** LUKS with the secret of this uuid or name, or, for `true`, with one that is made for it; nothing without. */
export function encryption(secret: string | true | undefined) {
  if (secret === undefined) return {}
  const type = 'passphrase' as const
  const secrets =
    secret === true ? [] : [{ type, ...(uuidShape.test(secret) ? { uuid: secret } : { usage: secret }) }]
  return { encryption: { format: 'luks' as const, secrets } }
}
