-- A small passive animal to hunt: wanders, flees when hit, drops food. A box with minetest_game's own textures.
local SIDE, FACE = "wool_pink.png", "wool_red.png"
local HITS, WALK, FLEE = 4, 1.2, 3.5
local random = PcgRandom(7)

function bridge.seed_animals(seed) random = PcgRandom(seed) end

minetest.register_entity("bridge:pig", {
  initial_properties = {
    physical = true, collide_with_objects = true, hp_max = 20, stepheight = 1.1,
    collisionbox = {-0.4, -0.4, -0.4, 0.4, 0.4, 0.4},
    visual = "cube", visual_size = {x = 0.8, y = 0.8}, textures = {SIDE, SIDE, SIDE, SIDE, SIDE, FACE},
  },
  on_activate = function(self)
    self.wait, self.yaw, self.speed, self.hits = 0, 0, 0, HITS
    self.object:set_acceleration {x = 0, y = -9.81, z = 0}
  end,
  on_step = function(self, dtime)
    self.wait = self.wait - dtime
    if self.wait <= 0 then
      self.wait = 1 + random:next(0, 30) / 10
      self.speed = random:next(0, 2) == 0 and 0 or WALK
      self.yaw = math.rad(random:next(0, 359))
      self.object:set_texture_mod("")
    end
    self.object:set_yaw(self.yaw)
    local fall = self.object:get_velocity().y
    self.object:set_velocity {x = -math.sin(self.yaw) * self.speed, y = fall, z = math.cos(self.yaw) * self.speed}
  end,
  on_punch = function(self, puncher)
    local here = self.object:get_pos()
    local away = vector.direction(puncher:get_pos(), here)
    self.speed, self.wait, self.yaw = FLEE, 2, math.atan2(-away.x, away.z)
    self.hits = self.hits - 1
    bridge.report {type = "hit", object = "bridge:pig"}
    self.object:set_texture_mod("^[colorize:#ff0000:90")
    if self.hits <= 0 then
      bridge.report {type = "kill", object = "bridge:pig"}
      minetest.add_item(here, "farming:bread")
      self.object:remove()
    end
    return true
  end,
})
