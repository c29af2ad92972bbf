/** The table of drivers. To add one: its folder, and its row here. */
import type { Driver } from '../driver/index.ts'
import { driver as test } from './test/index.ts'

export const drivers: readonly Driver[] = [test]
