import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { configureDeviceFile } from '../device-file.ts'

export function configure(command: Command, context: Context): void {
  configureDeviceFile(command, context, 'updateDevice', {
    description:
      'Change a device as a file describes it: the medium of a drive, the link of a card, limits, passwords.',
    example: 'put another medium in, say',
  })
}
