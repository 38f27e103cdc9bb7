"""One folder a driver, independent of each other; each implements ``paictl.engine.driver.Driver``."""
