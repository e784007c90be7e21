//! Where scenarios run: with a sound engine, or with one that has a deliberate defect.

use core::time::Duration;

use steersman_engine::defect::Defect;
use steersman_sim::fixture::{Scene, SceneBuilder};
use steersman_sim::fleet::{Fleet, FleetBuilder};

/// The conditions of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lab {
    defect: Option<Defect>,
}

impl Lab {
    /// Everything as it should be.
    pub(crate) const fn sound() -> Lab {
        Lab { defect: None }
    }

    /// One thing wrong.
    pub(crate) const fn with(defect: Defect) -> Lab {
        Lab { defect: Some(defect) }
    }

    /// Begins a scene under these conditions.
    pub(crate) fn begin(self, scene: SceneBuilder) -> Scene {
        let mut scene = self.begin_late(scene);
        scene.run_for(Duration::ZERO);
        scene
    }

    /// Begins a fleet under these conditions.
    pub(crate) fn begin_fleet(self, fleet: FleetBuilder) -> Fleet {
        fleet.begin_with(|engine| {
            if let Some(defect) = self.defect {
                engine.plant(defect);
            }
        })
    }

    /// Sets a scene that has not begun: the first input is still to come.
    pub(crate) fn begin_late(self, scene: SceneBuilder) -> Scene {
        scene.set_with(|engine| {
            if let Some(defect) = self.defect {
                engine.plant(defect);
            }
        })
    }
}

/// One scenario with its name.
pub(crate) type Scenario = (&'static str, fn(Lab));

/// Makes each listed function a test, and all of them the module's table of contents.
macro_rules! scenarios {
    ($($name:ident,)+) => {
        pub(crate) const ALL: &[crate::lab::Scenario] = &[$((stringify!($name), $name)),+];

        mod sound {
            $(#[test] fn $name() { super::$name(crate::lab::Lab::sound()); })+
        }
    };
}
pub(crate) use scenarios;
