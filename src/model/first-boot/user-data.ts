/** cloud-init's user-data: what is given is checked, what is set is written. Source: cloud-init, "User-data formats". */
import { VisorError } from '../error.ts'
import * as s from '../schema.ts'
import { formatYaml } from '../yaml-write.ts'
import { cloudConfigKeys } from './cloud-config-keys.ts'
import { readMap, refuseNearKeys } from './read-yaml.ts'
import type { FirstBoot } from './settings.ts'

/** What the first line of a part says that it is, and how it is called in a message of several parts. */
const kinds = [
  { begin: /^#cloud-config-archive\s*$/u, type: 'text/cloud-config-archive' },
  { begin: /^#cloud-config\s*$/u, type: 'text/cloud-config' },
  { begin: /^## ?template: ?jinja\s*$/u, type: 'text/jinja2' },
  { begin: /^#include-once\s*$/u, type: 'text/x-include-once-url' },
  { begin: /^#include\s*$/u, type: 'text/x-include-url' },
  { begin: /^#cloud-boothook\s*$/u, type: 'text/cloud-boothook' },
  { begin: /^#part-handler\s*$/u, type: 'text/part-handler' },
  { begin: /^#!/u, type: 'text/x-shellscript' },
  { begin: /^(?:content-type|mime-version):/iu, type: 'multipart' },
] as const
type Kind = (typeof kinds)[number]['type']

/** Fails with `invalid-argument` for what cloud-init would not take. */
function kindOf(text: string): Kind {
  const first = text.slice(0, 1000).split('\n')[0] ?? ''
  const found = kinds.find(({ begin }) => begin.test(first))
  if (!found)
    throw new VisorError(
      'invalid-argument',
      'The user-data begins with none of the lines by which cloud-init knows what it is.',
      {
        path: 'userData',
        remedy:
          "Begin its first line with '#cloud-config', '#!', '#include', '#cloud-boothook', '## template: jinja' or the head of a MIME message.",
      },
    )
  if (found.type === 'text/x-shellscript' && first.endsWith('\r'))
    throw new VisorError(
      'invalid-argument',
      'The script has line ends of Windows, with which it cannot run.',
      {
        path: 'userData',
        remedy: 'Write it with those of Unix.',
      },
    )
  return found.type
}

/** The user-data of these settings; undefined when they say nothing that goes there. */
export function userDataOf(settings: FirstBoot): string | undefined {
  const { userData } = settings
  const own = cloudConfigOf(settings)
  const ownText =
    Object.keys(own).length > 0 ? `#cloud-config\n${formatYaml(s.any('cloud-config'), own)}` : undefined
  if (userData === undefined) return ownText
  const kind = kindOf(userData)
  const given = kind === 'text/cloud-config' ? readMap('userData', 'user-data', userData) : {}
  refuseNearKeys('userData', 'user-data', Object.keys(given), cloudConfigKeys)
  if (ownText === undefined) return userData
  const twice = Object.keys(given).filter((key) => Object.hasOwn(own, key))
  if (twice.length > 0)
    throw new VisorError(
      'invalid-argument',
      `The user-data has '${twice.join("', '")}', and so have the other settings.`,
      { path: 'userData', remedy: 'Say it in one of the two.' },
    )
  if (kind === 'multipart' || kind === 'text/jinja2')
    throw new VisorError(
      'invalid-argument',
      'User-data that is a MIME message or a template stands alone: no keys, users, packages, files or commands beside it.',
      { path: 'userData', remedy: 'Write them into it.' },
    )
  return asMessage([
    { type: 'text/cloud-config', text: ownText },
    { type: kind, text: userData },
  ])
}

/** Keys of the module reference. */
function cloudConfigOf(settings: FirstBoot): Record<string, unknown> {
  const { sshKeys, passwordHash, users, packages, files, commands, timezone, locale } = settings
  const isOwnUserNamed = sshKeys.length > 0 || passwordHash !== undefined
  return {
    ...(users.length > 0 && {
      users: [...(isOwnUserNamed ? ['default'] : []), ...users.map(userOf)],
    }),
    ...(sshKeys.length > 0 && { ssh_authorized_keys: sshKeys }),
    // Without the second it would have to be changed at the first login.
    ...(passwordHash !== undefined && { password: passwordHash, chpasswd: { expire: false } }),
    ...(packages.length > 0 && { package_update: true, packages }),
    ...(files.length > 0 && {
      write_files: files.map(({ path, content, permissions, owner }) => ({
        ...{ path, permissions, content },
        // After the users are there and the packages are installed.
        ...(owner !== undefined && { owner, defer: true }),
      })),
    }),
    ...(commands.length > 0 && { runcmd: commands }),
    ...(timezone !== undefined && { timezone }),
    ...(locale !== undefined && { locale }),
  }
}

function userOf({ name, sshKeys, passwordHash, sudo, groups, shell }: FirstBoot['users'][number]) {
  return {
    name,
    lock_passwd: passwordHash === undefined,
    ...(passwordHash !== undefined && { passwd: passwordHash }),
    ...(sudo && { sudo: 'ALL=(ALL) NOPASSWD:ALL' }),
    ...(groups.length > 0 && { groups }),
    ...(shell !== undefined && { shell }),
    ...(sshKeys.length > 0 && { ssh_authorized_keys: sshKeys }),
  }
}

/** Source: RFC 2046. The content is in base64: cloud-init reads other texts with characters beyond ASCII wrongly. */
function asMessage(parts: readonly { readonly type: string; readonly text: string }[]): string {
  const boundary = '==visor=='
  const lines = [`Content-Type: multipart/mixed; boundary="${boundary}"`, 'MIME-Version: 1.0', '']
  for (const { type, text } of parts)
    lines.push(
      `--${boundary}`,
      `Content-Type: ${type}; charset="utf-8"`,
      'Content-Transfer-Encoding: base64',
      '',
      ...(base64(text).match(/.{1,76}/gu) ?? []),
    )
  return `${[...lines, `--${boundary}--`].join('\n')}\n`
}

function base64(text: string): string {
  const bytes = new TextEncoder().encode(text)
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}
