//! Ways to break the protocol on purpose: each forgets one rule. The simulated world switches one on
//! at run time and must notice.
//!
//! A real machine breaks nothing: there [`crate::system::System::breaks`] is the constant `false`,
//! so that the compiler leaves every one of these out of the binary.

/// A rule that is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the table below says what each does wrong")]
pub enum Mutant {
    AcknowledgeBeforeCommit,
    CommitByRename,
    ReusePrivateNames,
    SkipFsync,
    SkipFolderSync,
    ExitBeforeSync,
    VaryingUnsynced,
    ExitBeforeSeal,
    SealOverPushes,
    ExitBeforeOutput,
    CreatedByOwnClock,
    OrderAsPushed,
    MachineInResult,
    OfferOnce,
    Insist,
    ForgetToFold,
    FoldOutOfOrder,
    FoldOnBehind,
    TakeInBeforeChapter,
    CountAPathTwice,
    RefuseOffTheRecord,
    StagesShareAPlace,
    TrustLinksReply,
    AbsenceIsAFact,
    UncheckedInput,
    RejectTheMissing,
    TornIsAViolation,
    TornIsLeft,
    ViolationKeptQuiet,
    LoserKeepsItsOwn,
    VaryingIsAViolation,
    SweepTooEarly,
    NeverResume,
    ResumeAnothers,
    NeverRenew,
    RenewWithoutProgress,
    RenewalWaitsForVolume,
    TrustAnyDeadline,
    OwnRandomness,
    GiveUpOnQueue,
    DeafToNotice,
    ClaimAfterNotice,
    KeepLeaseWhenPreempted,
    PreemptionIsAFailure,
    SkipTokenCheck,
    ReapALiveLease,
    AnyVersion,
    ShareEventFiles,
    OneFailedHeartbeat,
    OfferNothing,
    PauseAfterEach,
    NeverResetDelay,
    WaitOutTheGrace,
    NoticeSavesNothing,
    SaveSeldom,
    SaveUnwritten,
    HashOneBlock,
    CheckOneBlock,
    TakeOtherContent,
    TakeLateTests,
    TakeHidden,
    ForgetHistory,
    OneNameAStem,
    KeepEarlierOutput,
    EmptyTheOutput,
    IgnoreFailedRemoval,
    MarkBeforeSync,
    CommitBeforeBlocks,
    BlocksUnsynced,
    AbandonUnsealed,
    AbandonBeforeChapter,
    DeafToAbandon,
    LeftIsFinished,
    RemoveSharedOutput,
    MarkReportAlone,
    NameTheLastPlainly,
    TakeOneOfAStem,
    CompareSizeAlone,
    KeepLateTests,
    UseAllGrace,
    DelayPreempted,
    UncappedDelay,
    OfferOne,
    ResumeTheFirst,
    TakenIsALoss,
    UnansweredIsDone,
    UnansweredIsUndone,
    OwnByBytes,
    TrustFirstPage,
    TrustCutBody,
}

/// A mutant as the lists show it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Which one.
    pub mutant: Mutant,
    /// Its name in lists.
    pub name: &'static str,
    /// The number of the rule in ARCHITECTURE.md; 0 is the loop itself.
    pub rule: u8,
    /// What is done wrong.
    pub what: &'static str,
    /// The property that must see it: `effect`, `liveness`, `waste` or `replay`.
    pub caught_by: &'static str,
}

/// Every mutant, by rule.
pub const MUTANTS: [Entry; 90] = {
    use Mutant::*;
    const fn of(
        mutant: Mutant,
        name: &'static str,
        rule: u8,
        what: &'static str,
        caught_by: &'static str,
    ) -> Entry {
        Entry { mutant, name, rule, what, caught_by }
    }
    const EFFECT: &str = "effect";
    const LIVENESS: &str = "liveness";
    const WASTE: &str = "waste";
    const REPLAY: &str = "replay";
    [
        of(
            AcknowledgeBeforeCommit,
            "acknowledge-before-commit",
            0,
            "acknowledges an item, then does it",
            WASTE,
        ),
        of(ForgetToFold, "forget-to-fold", 0, "never offers the fold", LIVENESS),
        of(
            FoldOutOfOrder,
            "fold-out-of-order",
            0,
            "folds whatever is joined, without what comes before",
            EFFECT,
        ),
        of(FoldOnBehind, "fold-on-behind", 0, "folds on behind another that is ahead", WASTE),
        of(NeverRenew, "never-renew", 0, "lets its leases run out while it works", WASTE),
        of(
            RenewWithoutProgress,
            "renew-without-progress",
            0,
            "extends its lease while nothing moves",
            LIVENESS,
        ),
        of(GiveUpOnQueue, "give-up-on-queue", 0, "ends when the queue is away", EFFECT),
        of(DeafToNotice, "deaf-to-notice", 0, "does not hear SIGTERM", LIVENESS),
        of(ClaimAfterNotice, "claim-after-notice", 0, "claims on after SIGTERM", WASTE),
        of(KeepLeaseWhenPreempted, "keep-lease-when-preempted", 0, "releases nothing on SIGTERM", WASTE),
        of(PreemptionIsAFailure, "preemption-is-a-failure", 0, "counts preemptions as failures", EFFECT),
        of(SkipTokenCheck, "skip-token-check", 0, "the queue lets anybody end anybody's claim", WASTE),
        of(ReapALiveLease, "reap-a-live-lease", 0, "the queue hands out what is still leased", WASTE),
        of(
            ReusePrivateNames,
            "reuse-private-names",
            1,
            "attempts at an item share their private files",
            EFFECT,
        ),
        of(ExitBeforeSeal, "exit-before-seal", 2, "exits 0 once every item is committed", EFFECT),
        of(SealOverPushes, "seal-over-pushes", 2, "seals without looking at what was pushed", EFFECT),
        of(AbandonUnsealed, "abandon-unsealed", 2, "abandons a run whose manifest is open", EFFECT),
        of(
            AbandonBeforeChapter,
            "abandon-before-chapter",
            2,
            "abandons without a seal where a chapter was first",
            EFFECT,
        ),
        of(CreatedByOwnClock, "created-by-own-clock", 3, "dates the report by the machine's clock", EFFECT),
        of(OrderAsPushed, "order-as-pushed", 3, "does not sort what a chapter takes in", EFFECT),
        of(MachineInResult, "machine-in-result", 4, "a result depends on the machine", EFFECT),
        of(OfferOnce, "offer-once", 5, "tells the queue of each item only once", LIVENESS),
        of(Insist, "insist", 5, "tries at once again what waits for another item", LIVENESS),
        of(
            TakeInBeforeChapter,
            "take-in-before-chapter",
            6,
            "removes pushed paths before the chapter's link",
            EFFECT,
        ),
        of(CountAPathTwice, "count-a-path-twice", 6, "does not recognise a path that came before", EFFECT),
        of(
            RefuseOffTheRecord,
            "refuse-off-the-record",
            6,
            "removes a refused path that no page holds",
            EFFECT,
        ),
        of(
            StagesShareAPlace,
            "stages-share-a-place",
            7,
            "joined parts are committed among the prepared",
            EFFECT,
        ),
        of(CommitByRename, "commit-by-rename", 8, "makes a commit public by rename", EFFECT),
        of(TrustLinksReply, "trust-links-reply", 8, "does not look at what the public name holds", EFFECT),
        of(AbsenceIsAFact, "absence-is-a-fact", 8, "takes what it cannot see for what is not there", EFFECT),
        of(UncheckedInput, "unchecked-input", 9, "does not compare a dataset with the manifest", EFFECT),
        of(RejectTheMissing, "reject-the-missing", 9, "rejects a dataset that it cannot find", EFFECT),
        of(SkipFsync, "skip-fsync", 10, "links what was not synced", EFFECT),
        of(TornIsAViolation, "torn-is-a-violation", 10, "blames a torn commit on its attempt", EFFECT),
        of(TornIsLeft, "torn-is-left", 10, "does not repair a torn commit", LIVENESS),
        of(
            ViolationKeptQuiet,
            "violation-kept-quiet",
            10,
            "does not commit that it found a violation",
            EFFECT,
        ),
        of(
            LoserKeepsItsOwn,
            "loser-keeps-its-own",
            11,
            "goes on from its own bytes, not the committed",
            EFFECT,
        ),
        of(VaryingIsAViolation, "varying-is-a-violation", 11, "voids runs whose results may vary", EFFECT),
        of(ExitBeforeOutput, "exit-before-output", 12, "exits 0 once the report is committed", EFFECT),
        of(SweepTooEarly, "sweep-too-early", 13, "sweeps earlier attempts before it looks at them", WASTE),
        of(NeverResume, "never-resume", 14, "ignores saved progress", WASTE),
        of(ResumeAnothers, "resume-anothers", 14, "goes on from what was saved of other inputs", EFFECT),
        of(
            RenewalWaitsForVolume,
            "renewal-waits-for-volume",
            15,
            "looks at the volume before each heartbeat",
            WASTE,
        ),
        of(
            TrustAnyDeadline,
            "trust-any-deadline",
            16,
            "waits for leases of a clock that was set back",
            LIVENESS,
        ),
        of(AnyVersion, "any-version", 18, "takes part in a run of another results version", EFFECT),
        of(OwnRandomness, "own-randomness", 19, "takes random numbers that are not the port's", REPLAY),
        of(
            SkipFolderSync,
            "skip-folder-sync",
            21,
            "does not sync the folder of what cannot be recomputed",
            EFFECT,
        ),
        of(ExitBeforeSync, "exit-before-sync", 21, "exits 0 before the output's names are synced", EFFECT),
        of(VaryingUnsynced, "varying-unsynced", 21, "does not sync a result that varies", EFFECT),
        of(OneFailedHeartbeat, "one-failed-heartbeat", 0, "sends no heartbeat after one that failed", WASTE),
        of(OfferNothing, "offer-nothing", 0, "offers nothing when it acknowledges", WASTE),
        of(
            PauseAfterEach,
            "pause-after-each",
            0,
            "waits after each item as if there were no other",
            LIVENESS,
        ),
        of(
            NeverResetDelay,
            "never-reset-delay",
            5,
            "delays items ever longer, whatever succeeds in between",
            WASTE,
        ),
        of(WaitOutTheGrace, "wait-out-the-grace", 0, "goes on until its grace is over", LIVENESS),
        of(NoticeSavesNothing, "notice-saves-nothing", 14, "gives work back and does not save it", WASTE),
        of(SaveSeldom, "save-seldom", 14, "saves by the length of the work alone", WASTE),
        of(SaveUnwritten, "save-unwritten", 14, "says that it saved what it did not", WASTE),
        of(HashOneBlock, "hash-one-block", 9, "hashes a dataset's first block alone", EFFECT),
        of(CheckOneBlock, "check-one-block", 9, "compares a dataset's first block alone", EFFECT),
        of(
            TakeOtherContent,
            "take-other-content",
            6,
            "does not look at a path's content when it comes again",
            EFFECT,
        ),
        of(TakeLateTests, "take-late-tests", 6, "takes tests in after the beginning", EFFECT),
        of(TakeHidden, "take-hidden", 6, "takes hidden files for datasets", EFFECT),
        of(ForgetHistory, "forget-history", 6, "does not look into the folder of the history", EFFECT),
        of(OneNameAStem, "one-name-a-stem", 12, "calls checkpoints by the stem alone", EFFECT),
        of(
            KeepEarlierOutput,
            "keep-earlier-output",
            12,
            "leaves an earlier run's files in the output",
            EFFECT,
        ),
        of(EmptyTheOutput, "empty-the-output", 12, "removes from the output what no run put there", EFFECT),
        of(
            IgnoreFailedRemoval,
            "ignore-failed-removal",
            12,
            "takes a file for removed whose removal failed",
            EFFECT,
        ),
        of(
            MarkBeforeSync,
            "mark-before-sync",
            21,
            "marks the output as put before its names are synced",
            EFFECT,
        ),
        of(
            CommitBeforeBlocks,
            "commit-before-blocks",
            22,
            "commits a result without the blocks that it refers to",
            LIVENESS,
        ),
        of(DeafToAbandon, "deaf-to-abandon", 12, "works on when the run is abandoned", WASTE),
        of(LeftIsFinished, "left-is-finished", 12, "exits 0 from a run that was abandoned", EFFECT),
        of(
            RemoveSharedOutput,
            "remove-shared-output",
            12,
            "removes all that an earlier run put into the output",
            EFFECT,
        ),
        of(MarkReportAlone, "mark-report-alone", 12, "marks the report alone as put into the output", EFFECT),
        of(
            NameTheLastPlainly,
            "name-the-last-plainly",
            12,
            "gives the last of a stem's checkpoints the stem",
            EFFECT,
        ),
        of(TakeOneOfAStem, "take-one-of-a-stem", 6, "takes one dataset of a stem", LIVENESS),
        of(
            CompareSizeAlone,
            "compare-size-alone",
            6,
            "compares the size alone when a path comes again",
            EFFECT,
        ),
        of(KeepLateTests, "keep-late-tests", 6, "neither takes nor refuses a late test", LIVENESS),
        of(UseAllGrace, "use-all-grace", 14, "lets a task run to the end of the grace", WASTE),
        of(DelayPreempted, "delay-preempted", 0, "delays the item that it releases on SIGTERM", WASTE),
        of(UncappedDelay, "uncapped-delay", 5, "doubles delays without a limit", WASTE),
        of(OfferOne, "offer-one", 0, "offers one item when it acknowledges", WASTE),
        of(ResumeTheFirst, "resume-the-first", 14, "resumes the first state that was saved", WASTE),
        of(BlocksUnsynced, "blocks-unsynced", 22, "does not sync the blocks that a result refers to", EFFECT),
        of(
            TakenIsALoss,
            "taken-is-a-loss",
            8,
            "in a bucket: takes 409 and 412 for another's same bytes",
            EFFECT,
        ),
        of(UnansweredIsDone, "unanswered-is-done", 8, "in a bucket: takes a time-out for success", EFFECT),
        of(
            UnansweredIsUndone,
            "unanswered-is-undone",
            8,
            "in a bucket: takes a time-out for a failure, and writes over what is there",
            EFFECT,
        ),
        of(OwnByBytes, "own-by-bytes", 8, "in a bucket: takes equal bytes for its own attempt's", EFFECT),
        of(
            TrustFirstPage,
            "trust-first-page",
            8,
            "in a bucket: takes a listing that broke off for all there is",
            EFFECT,
        ),
        of(
            TrustCutBody,
            "trust-cut-body",
            8,
            "in a bucket: takes a body that broke off for the whole object",
            EFFECT,
        ),
        of(ShareEventFiles, "share-event-files", 20, "incarnations of a worker share one file", EFFECT),
    ]
};

impl Mutant {
    /// By its name in lists.
    pub fn named(name: &str) -> Option<Self> {
        MUTANTS.iter().find(|entry| entry.name == name).map(|entry| entry.mutant)
    }

    /// Whether only a bucket's client can forget it.
    pub fn is_of_bucket(self) -> bool {
        use Mutant::*;
        matches!(
            self,
            TakenIsALoss | UnansweredIsDone | UnansweredIsUndone | OwnByBytes | TrustFirstPage | TrustCutBody
        )
    }

    /// Its name in lists.
    pub fn name(self) -> &'static str {
        MUTANTS.iter().find(|entry| entry.mutant == self).map_or("", |entry| entry.name)
    }
}
