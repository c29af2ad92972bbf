export { expiredOf, judgeRetention, type PointInTime, Retention, type Verdict } from './retention.ts'
export {
  Schedule,
  ScheduleDefinition,
  type ScheduleDefinitionInput,
  ScheduleResult,
  ScheduleRun,
} from './schedule.ts'
