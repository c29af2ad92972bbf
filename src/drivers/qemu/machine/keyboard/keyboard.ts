/** Keys and interrupts, as if somebody pressed them. */
import type { Domains } from '../../../../driver/index.ts'
import type { Registry } from '../../registry.ts'
import { findKey } from './keys.ts'

export function keyboard(registry: Registry): Required<Pick<Domains, 'sendKey' | 'injectNmi'>> {
  return {
    async sendKey(uuid, { keys, codeset = 'linux', holdMs }) {
      const { monitor } = registry.running(uuid, ['running'])
      const pressed = keys.map((key) => ({ type: 'number', data: findKey(key, codeset) }))
      await monitor.execute('send-key', {
        keys: pressed,
        ...(holdMs === undefined ? {} : { 'hold-time': holdMs }),
      })
    },
    async injectNmi(uuid) {
      await registry.running(uuid, ['running']).monitor.execute('inject-nmi')
    },
  }
}
