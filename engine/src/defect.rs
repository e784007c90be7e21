//! Deliberate defects that tests switch on, to show that they would see them. Never in production:
//! without the `defects` feature none can be switched on, and the checks fold to nothing.

use crate::engine::Engine;

/// The defects that are switched on.
#[cfg(feature = "defects")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defects([u64; 4]);

macro_rules! defects {
    ($($(#[$doc:meta])* $variant:ident,)+) => {
        /// One deliberate defect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Defect { $($(#[$doc])* $variant),+ }

        impl Defect {
            /// Every defect, in the order of their numbers.
            pub const ALL: &'static [Defect] = &[$(Defect::$variant),+];
        }
    };
}

defects! {
    /// A late result of an earlier run counts for the present one.
    StaleResultCounts,
    /// A result that comes twice counts twice.
    RepeatedResultCounts,
    /// A signal that comes before the beginning is lost.
    SignalBeforeBeginLost,
    /// SIGINT does nothing.
    InterruptIgnored,
    /// SIGUSR1 does nothing.
    LogsNotReopened,
    /// A job on the global startup counts as impossible before it has seen the event.
    StartupJudgedTooEarly,
    /// `once` reacts every time.
    OnceEveryTime,
    /// `each` reacts the first time only.
    EachOnlyOnce,
    /// Several triggers during a run are one further run.
    TriggersMerged,
    /// Every tick of an interval during a run is kept.
    TicksPileUp,
    /// Waiting starts have no bound.
    PendingUnbounded,
    /// A trigger during a run is forgotten.
    TriggersDuringRunLost,
    /// The next tick counts from when the last one was looked at, and a little later.
    IntervalDrifts,
    /// An interval job does not count its runs.
    IntervalRunsNotCounted,
    /// The limit for the trigger is not cancelled by the start.
    TriggerTimeoutOutlivesStart,
    /// A job that gives up waiting does not say so.
    GivesUpSilently,
    /// A job never gives up waiting.
    NeverGivesUp,
    /// One of several conditions is enough.
    AllIsAny,
    /// Conditions are judged on what was ever seen.
    AllOnEdges,
    /// A signal that came before the other conditions held is forgotten.
    AllForgetsOccurrences,
    /// Only the first of several alternatives counts.
    AnyIsFirstOnly,
    /// A job that can never start waits for ever.
    ImpossibleNotSeen,
    /// A job that never ran is said to have stopped.
    SkippedCountsAsStopped,
    /// Ordinary events still start jobs during a shutdown.
    StartsAfterStop,
    /// A start event during a run ends the job.
    SecondStartEndsJob,
    /// Restarts are not counted down.
    RestartsNotCounted,
    /// Success is not restarted.
    RestartOnlyAfterFailure,
    /// A job runs again beside what its earlier run left behind.
    RestartBesideChild,
    /// A process counts as running until its children have gone.
    EndWaitsForChild,
    /// A crash loop restarts without delay.
    BackoffNone,
    /// The wait between restarts stays short.
    BackoffDoesNotGrow,
    /// Equal jobs restart in step.
    BackoffWithoutJitter,
    /// The first restart waits as well.
    FirstRestartWaits,
    /// Good running forgives nothing.
    BackoffNeverForgives,
    /// A new process inherits the health of the old one.
    HealthSurvivesRestart,
    /// The time limit of a run goes on counting into the next.
    RunTimeoutOutlivesRun,
    /// A run may take for ever.
    RunTimeoutIgnored,
    /// What a run left behind is left alone.
    ChildLeftAlone,
    /// A process that cannot be started leaves its job hanging.
    StartFailureForgotten,
    /// A stop that was asked for while the process was starting is forgotten.
    StopWhileStartingLost,
    /// The variable with a process id outlives the process.
    PidVariableStays,
    /// The container ends with 0 whatever its jobs did.
    FailureForgotten,
    /// The container ends with the status of the last job to end.
    LastFailureWins,
    /// An end by a signal shows the bare number.
    SignalStatusRaw,
    /// The end of an essential job means nothing.
    EssentialIgnored,
    /// An essential job ends the container although restarts are left.
    EssentialNotRestarted,
    /// The signal of a stop goes to a process that has gone.
    GoneProcessSignalled,
    /// `stopped` is published right after the signal.
    StoppedBeforeGone,
    /// A stop does not wait for its hooks.
    HooksNotWaitedFor,
    /// Of several hooks only the last is waited for.
    LastHookOnly,
    /// The stop timeout of a job is ignored.
    HookLimitIgnored,
    /// Hooks that took too long go on.
    HooksNotCut,
    /// The patience of a job is ignored.
    KillTimeoutIgnored,
    /// A stop kills without giving time.
    KilledAtOnce,
    /// Every job is stopped with SIGTERM.
    StopSignalIgnored,
    /// A process that ignores the stop is left alone until the budget is spent.
    NeverKilled,
    /// The budget of a shutdown is not enforced.
    BudgetNotEnforced,
    /// A second SIGTERM does not hurry.
    SecondTermIgnored,
    /// A process that cannot be killed holds the container for ever.
    UnkillableHolds,
    /// The container waits for the whole budget when all has gone.
    SleepsOutTheBudget,
    /// A container that had to kill ends with 0.
    UncleanForgotten,
    /// A job that was asked to stop is started again.
    RestartedWhenStopped,
    /// Dropped triggers are not mentioned.
    DroppedSilently,
    /// At a shutdown a job that never ran is said to have stopped.
    StoppedWithoutHavingRun,
    /// A reload under way brings its jobs back up after a stop.
    ReloadOutranksStop,
    /// A check goes on when its job stops.
    ChecksOutliveJob,
    /// `healthy` is published at every check.
    HealthyEveryTime,
    /// `unhealthy` is published at every check.
    UnhealthyEveryTime,
    /// A first result that is bad is no event.
    FirstFailureSilent,
    /// The first failure counts at once.
    RetriesIgnored,
    /// Failures add up although there was success between them.
    RetriesNotInARow,
    /// Failures count from the start.
    StartPeriodIgnored,
    /// Failures in the start period do not count even after a success.
    StartPeriodHidesAll,
    /// The start interval is ignored.
    StartIntervalIgnored,
    /// A check may take for ever.
    CheckTimeoutIgnored,
    /// The result of a check that took too long still counts.
    LateCheckCounts,
    /// A check of an earlier run says something about the present one.
    StaleCheckCounts,
    /// A check begins although the one before has not ended.
    ChecksOverlap,
    /// A check slower than its interval is the last one.
    SlowCheckEndsChecking,
    /// The first check comes at the start.
    FirstCheckAtOnce,
    /// The ends of checks are no events.
    CheckEndsNotPublished,
    /// A check that cannot be started blocks all later ones.
    CheckStartFailureForgotten,
    /// What a check left behind is left alone.
    CheckChildLeftAlone,
    /// A check that failed counts as passed.
    CheckFailureIsSuccess,
    /// Maintenance that is on can be switched on.
    MaintenanceTwice,
    /// A new process ends maintenance.
    MaintenanceEndsWithProcess,
    /// Checks go on in maintenance.
    ChecksInMaintenance,
    /// Checks do not come back after maintenance.
    ChecksNotResumed,
    /// Maintenance is no event.
    MaintenanceSilent,
    /// A reload restarts what did not change.
    ReloadRestartsUnchanged,
    /// A reload of everything reloads only what changed.
    ReloadAllForgotten,
    /// A reload gives unchanged jobs their restarts back.
    ReloadForgetsCounts,
    /// A reload drops the waiting starts of unchanged jobs.
    ReloadDropsPending,
    /// A replaced job starts before its old process has gone.
    ReloadOverlaps,
    /// A broken configuration file ends the container.
    BadConfigStops,
    /// Every reload reads the file.
    ReloadsNotMerged,
    /// A reload that is asked for while one is under way is answered and forgotten.
    LastReloadLost,
    /// A job that left the configuration runs on.
    RemovedJobRunsOn,
    /// A job that a reload added is not started.
    NewJobNotStarted,
    /// The control plane changes things while everything stops.
    ControlWhileStopping,
    /// A signal sent to a job also stops it.
    SignalStopsJob,
    /// A restart over the control plane only stops.
    RestartOnlyStops,
    /// Names that are no variables are set all the same.
    BadVariablesSet,
    /// An input that comes with the timer that ended the supervisor still has effects.
    WorksAfterTheEnd,
    /// Patience with a stop counts although the process has not had its signal yet.
    PatienceFromTheWish,
    /// After a reload jobs react to what they reacted to before.
    OldTriggerHeard,
    /// A second signal just before the end moves the end.
    HurryingDelays,
    /// After a small step back of the wall clock scheduled times count again.
    ScheduleRepeats,
    /// After a pause the age of a term is looked at when its timer's turn comes.
    LockAgeSeenLate,
    /// A term outlives its last confirmed renewal.
    LockDeadlineIgnored,
    /// A lock is given back before its process has gone.
    LockReleasedTooEarly,
    /// A session that is gone ends no term.
    SessionLossIgnored,
    /// A new holder never keeps quiet.
    NoQuietTime,
    /// A holder that stops only lets its session go.
    LockNotReleased,
    /// Every try makes a new session.
    SessionPerTry,
    /// The end of a term stops nothing.
    LockJobsNotStopped,
    /// The fencing token of a term is not that of its grant.
    TokenNotFromTheGrant,
    /// Maintenance keeps the lock.
    LockKeptInMaintenance,
    /// Every reload hands the locks over.
    ReloadEndsTerms,
    /// A holder whose reading of the key has failed does not look at it again.
    KeyReadNotRepeated,
    /// A lock is stood for again although it must not be.
    LockStoodForAgain,
    /// A lock is stood for without end.
    LockPatienceEndless,
    /// Tokens count from anew when Consul does.
    TokensCountAnew,
    /// The processes of a lost lock have the ordinary patience.
    LockKillTooLate,
    /// A lock lost in its quiet time waits for the jobs that stop with it, which nobody stops.
    QuietLossWaits,
    /// A confirmed renewal does not move the keeper's deadline.
    GuardNotMoved,
    /// The keeper is told a time that leaves out when the stop begins.
    GuardTooLate,
    /// The keeper goes on guarding when nothing is left.
    GuardNotLifted,
    /// The jobs of a term start before the keeper knows of them.
    GuardAfterStart,
    /// A term goes on without the keeper that it requires.
    KeeperNotRequired,
    /// A keeper that was lost is not started again.
    KeeperNotReplaced,
    /// The age of a term counts from the answer of its last renewal.
    TermAgeFromTheAnswer,
    /// Time in which the supervisor did not run does not make a term older.
    SuspendNotCounted,
    /// A session serves for the next term as well.
    SessionReused,
    /// Whoever saw a holder before never keeps quiet, whatever has become of the key.
    ContinuityAssumed,
    /// A quiet time ends without another look at the key.
    QuietNotConfirmed,
    /// A holder reads its key only as often as a candidate.
    KeyReadSeldom,
    /// A renewal waits for a check of the lock's job.
    RenewalWaitsForCheck,
    /// Who lost a term stands again at once.
    HoldOffIgnored,
    /// A leader that is unhealthy goes on.
    LeaderHealthIgnored,
    /// The end of a term leaves the jobs alone that must end with it.
    StopWithIgnored,
    /// A lock is given back before the jobs have gone that end with it.
    StopWithNotWaitedFor,
    /// The token is written to its file after the start.
    TokenFileLate,
    /// The token stays in its file.
    TokenFileKept,
    /// Who stops in its quiet time says that it led.
    QuietHandedOver,
    /// A candidate that stops while it asks for the key leaves it barred.
    AskedKeyBarred,
    /// All candidates ask at once when a lock becomes free.
    HerdNotSpread,
    /// A key that is barred is asked for all the time.
    BarredKeyHammered,
    /// A reload that changes a lock waits for its term to end by itself.
    ReloadKeepsTerms,
    /// A lock that a reload takes out is given back at once.
    RemovedLockNotWaitedFor,
    /// A lock is kept when nothing needs it any more.
    LockKeptUnneeded,
    /// The key is acquired in whatever state it is, not only in the one that was read.
    AcquiredWhateverItIs,
    /// A grant to a session that is gone begins a term.
    DeadGrantCounts,
    /// A key that was deleted and written again counts as the one that it was before.
    DeletedKeyIsContinued,
    /// A term whose session is gone goes on with another session.
    SecondSession,
    /// An answered renewal counts as a reading that shows the key as one's own.
    RenewalCountsAsReading,
    /// A reading shows how the key is when it is answered.
    ReadingAgeFromTheAnswer,
    /// When a try is refused, no earlier one was granted.
    RefusalBelieved,
    /// A key that was written plainly, with the flags of a release, counts as released.
    RestoredKeyBelieved,
    /// What a session holds that Consul says it does not know is not given back.
    UnknownSessionForgotten,
    /// A lock that could not be given back is not given back again.
    GivenBackOnce,
    /// A lock that cannot be given back is given back again without end.
    GivenBackForEver,
    /// A failing check lets the time to live run out.
    FailureNotReported,
    /// The end of a process lets the time to live run out.
    CrashNotReported,
    /// A stop does not wait until its service is out of the catalog.
    NotWithdrawn,
    /// The first reading of a watch is no event.
    FirstReadingSilent,
    /// A watch announces every reading.
    EveryReadingIsAChange,
    /// Every change of a watched set is a further run.
    ChangesQueueUp,
    /// A catalog that does not know a service any more is not told of it again.
    RegistrationLossIgnored,
    /// A job that ends takes along what Consul was still to be told.
    CatalogForgottenAtTheEnd,
    /// A heartbeat that the catalog accepts counts as a registration.
    BeatBeforeRegistration,
    /// Two watches of one service with different tags share what they remember.
    TagsShareMemory,
    /// A watched set is compared by its addresses only.
    OnlyAddressesCompared,
    /// A catalog that cannot be reached has no instances.
    UnreachableIsEmpty,
    /// A watch that has been cut off for too long does not say so.
    StaleNeverSaid,
    /// A reaction to a watch that failed is not tried again.
    FailedReactionNotRetried,
    /// A value for an unknown metric is swallowed.
    UnknownMetricSwallowed,
}

const _: () = assert!(Defect::ALL.len() <= 256, "a bit for each");

impl Engine {
    /// Builds the machine of a container's next life: a new one, with this one's deliberate
    /// defects.
    pub fn reborn(&self, config: crate::config::Config, seed: u64) -> Engine {
        let mut engine = Engine::new(config, seed);
        #[cfg(feature = "defects")]
        engine.defects.clone_from(&self.defects);
        #[cfg(not(feature = "defects"))]
        let _ = &mut engine;
        engine
    }

    /// Switches a defect on.
    #[cfg(feature = "defects")]
    pub fn plant(&mut self, defect: Defect) {
        let place = defect as usize;
        self.defects.0[place / 64] |= 1 << (place % 64);
    }

    #[cfg(feature = "defects")]
    pub(crate) fn planted(&self, defect: Defect) -> bool {
        let place = defect as usize;
        self.defects.0[place / 64] & 1 << (place % 64) != 0
    }

    /// [`Defect::SuspendNotCounted`]: when the earliest timer is late by more than a second, the
    /// supervisor did not run, and every term is made younger by that.
    pub(crate) fn forget_suspend(&mut self) {
        let Some(due) = self.timers.next() else { return };
        let late = self.now.mono.since(due);
        if late < core::time::Duration::from_secs(1) {
            return;
        }
        for index in 0..self.locks.len() {
            let lock = crate::id::LockId(index as u16);
            let state = &mut self.locks[index];
            state.confirmed = state.confirmed + late;
            state.shown = state.shown + late;
            let deadline = state.demote_at();
            if self.timers.is_lock_armed(lock, crate::timers::LockTimer::Deadline) {
                self.timers.arm_lock(lock, crate::timers::LockTimer::Deadline, deadline);
            }
            self.settle_lock(lock);
        }
    }

    #[cfg(not(feature = "defects"))]
    #[inline(always)]
    pub(crate) const fn planted(&self, _defect: Defect) -> bool {
        false
    }
}
