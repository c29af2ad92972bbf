/**
 * What a machine is made of, piece by piece: each is said by an option of QEMU's command line at the start, and
 * by a command of its monitor to a machine that runs. Source: qemu(1), QEMU's QMP reference.
 */
import { type Fields, keyValue } from './key-value.ts'

export type Part =
  /** `-device` and `device_add`. */
  | { readonly option: 'device'; readonly driver: string; readonly fields: Fields }
  /** `-object` and `object-add`, `-netdev` and `netdev_add`, `-chardev` and `chardev-add`. */
  | { readonly option: 'object' | 'netdev' | 'chardev'; readonly type: string; readonly fields: Fields }
  /** `-blockdev` and `blockdev-add`. */
  | { readonly option: 'blockdev'; readonly node: Readonly<Record<string, unknown>> }
  /** What can only be said at the start. */
  | { readonly option: 'start'; readonly args: readonly string[] }

export const device = (driver: string, fields: Fields): Part => ({ option: 'device', driver, fields })
export const object = (type: string, fields: Fields): Part => ({ option: 'object', type, fields })
export const netdev = (type: string, fields: Fields): Part => ({ option: 'netdev', type, fields })
export const chardev = (type: string, fields: Fields): Part => ({ option: 'chardev', type, fields })
export const blockdev = (node: Readonly<Record<string, unknown>>): Part => ({ option: 'blockdev', node })
export const atStart = (...args: string[]): Part => ({ option: 'start', args })

/** The arguments that say it at the start. */
export function partArguments(part: Part): readonly string[] {
  switch (part.option) {
    case 'start':
      return part.args
    case 'blockdev':
      return ['-blockdev', JSON.stringify(part.node)]
    case 'device':
      return ['-device', keyValue(part.driver, part.fields)]
    default:
      return [`-${part.option}`, keyValue(part.type, part.fields)]
  }
}
