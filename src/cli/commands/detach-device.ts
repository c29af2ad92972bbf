import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { configureDeviceFile } from '../device-file.ts'

export function configure(command: Command, context: Context): void {
  configureDeviceFile(command, context, 'detachDevice', {
    description:
      'Unplug the device that a file describes: the one of that alias, target or hardware address.',
    example: 'take it out again',
  })
}
